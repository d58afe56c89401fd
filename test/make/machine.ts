import type { Platform } from '../../src/daemon/platform.ts';
import { decodeOptions } from '../../src/cli/options.ts';
import { filesOf, noPrograms } from '../sim/harness.ts';
import { virtualClock } from '../sim/virtual-clock.ts';

/** A machine with nothing on it, and what a test says differently. */
export function makeMachine(rest: Partial<Platform> = {}): Platform {
  return {
    clock: virtualClock(),
    random: () => 0,
    exec: noPrograms,
    files: filesOf(new Map()),
    env: {},
    homeFolder: '/root',
    hostname: 'lb1',
    isRoot: true,
    pid: 4711,
    newId: () => 'id',
    lockFolder: '/run/furiwake/net-1',
    ...rest,
  };
}

/** The flags of `run`, as far as a test says them; the others have their defaults. */
export function makeOptions(rest: Partial<Parameters<typeof decodeOptions>[0]> = {}): ReturnType<typeof decodeOptions> {
  return decodeOptions({
    loadBalancerClass: 'furiwake.dev/haproxy',
    defaultClass: 'yes',
    leaseNamespace: 'furiwake-system',
    reservedPorts: '22',
    stateDir: '/var/lib/furiwake',
    idleTimeout: '3600',
    nodeSilenceTimeout: '15',
    onLeaseLoss: 'withdraw',
    metricsAddress: '127.0.0.1:9470',
    stopTrafficOnExit: 'no',
    ...rest,
  });
}

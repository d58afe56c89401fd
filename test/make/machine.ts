import type { Platform } from '../../src/daemon/platform.ts';
import { decodeOptions, type RunOptions } from '../../src/cli/options.ts';
import { filesOf, noPrograms } from '../sim/harness.ts';
import { virtualClock } from '../sim/virtual-clock.ts';

/** An empty machine, with the overrides of a test. */
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
    nodeVersion: '24.11.1',
    newId: () => 'id',
    runFolder: '/run/furiwake/net-1',
    ...rest,
  };
}

/** The flags of `run` that a test sets, as typed; the others have their defaults. */
export function makeOptions(typed: Readonly<Record<string, string>> = {}): RunOptions {
  return decodeOptions(typed);
}

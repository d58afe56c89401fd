import { probeBy } from './probe-by.ts';
import { makeHaproxy } from '../../src/dataplane/haproxy/haproxy.ts';
import { makeHealth } from '../../src/health/health.ts';
import type { Probe } from '../../src/health/probe.ts';
import type { CheckAnswer } from '../../src/ports/health.ts';
import type { Proxy } from '../../src/ports/proxy.ts';
import { type RecordedLog, type RecordedMetrics, recordLog, recordMetrics } from '../sim/observers.ts';
import { virtualClock, type VirtualClock } from '../sim/virtual-clock.ts';
import { type HaproxyMachine, makeHaproxyMachine } from './haproxy-machine.ts';

export type MachineRig = {
  readonly machine: HaproxyMachine;
  readonly proxy: Proxy;
  readonly clock: VirtualClock;
  readonly log: RecordedLog;
  readonly metrics: RecordedMetrics;
  readonly health: ReturnType<typeof makeHealth>;
};

const folder = '/var/lib/furiwake/haproxy';

/** furiwake's HAProxy adapter over a machine in memory, in virtual time. */
export function makeMachineRig({
  machine = makeHaproxyMachine(folder),
  probed = 'ok',
  probeMs = 0,
  hasAccount = true,
  clock = virtualClock(),
}: {
  /** Default: one without processes. */
  readonly machine?: HaproxyMachine;
  /** The results of furiwake's own probe, for all nodes or by address. */
  readonly probed?: CheckAnswer | ((address: string) => CheckAnswer);
  /** How long a round of it takes. */
  readonly probeMs?: number;
  readonly hasAccount?: boolean;
  readonly clock?: VirtualClock;
} = {}): MachineRig {
  const log = recordLog();
  const metrics = recordMetrics();
  const answers = probeBy((address) => (typeof probed === 'string' ? probed : probed(address)));
  const probe: Probe = async (targets, signal) => {
    const found = await answers(targets, signal);
    await clock.sleep(probeMs, signal);
    return found;
  };
  const health = makeHealth({ probe, silenceMs: 15_000, clock, log, metrics });
  const proxy = makeHaproxy({
    folder,
    descriptorLimit: 4000,
    idleTimeoutSeconds: 3600,
    hasIpv6: true,
    account: hasAccount ? { uid: 1, gid: 1 } : undefined,
    health: health.families,
    clock,
    log,
    metrics,
    ...machine,
  });
  return { machine, proxy, clock, log, metrics, health };
}

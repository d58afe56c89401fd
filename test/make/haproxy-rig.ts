import { probeBy } from './probe-by.ts';
import { makeBackoff } from '../../src/async/backoff.ts';
import type { TrafficTable } from '../../src/core/traffic/table.ts';
import { makeHaproxy } from '../../src/dataplane/haproxy/haproxy.ts';
import { makeHealth } from '../../src/health/health.ts';
import type { Probe } from '../../src/health/probe.ts';
import type { CheckAnswer } from '../../src/ports/health.ts';
import type { ListenerKey } from '../../src/core/model/names.ts';
import type { Refusals } from '../../src/ports/host.ts';
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

const folder = '/run/furiwake/net-1/haproxy';

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
    earlierFolder: '/var/lib/furiwake/haproxy',
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

/** Like the agent: applies the table, retries after growing waits, and audits it. */
export async function serve(
  { proxy, clock }: MachineRig,
  wanted: () => TrafficTable,
  signal: AbortSignal,
): Promise<void> {
  const backoff = makeBackoff({ firstMs: 200, mostMs: 30_000 });
  for (;;) {
    try {
      await proxy.upsert(wanted(), signal);
      await proxy.prune(wanted(), signal);
      backoff.reset();
      await clock.sleep(10_000, signal);
      await proxy.audit(wanted(), signal);
    } catch {
      signal.throwIfAborted();
      await clock.sleep(backoff.next(), signal);
    }
  }
}

/** The listeners that are not prepared, each with the words of HAProxy. */
export async function upsert({ proxy, clock }: MachineRig, table: TrafficTable): Promise<Refusals<ListenerKey>> {
  const [{ refused, deferred }] = await Promise.all([
    proxy.upsert(table, new AbortController().signal),
    clock.advance(500),
  ]);
  return new Map([...refused, ...deferred]);
}

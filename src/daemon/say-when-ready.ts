import { untilAborted } from '../async/abort.ts';
import type { Latch } from '../async/latch.ts';
import type { Plan } from '../controller/controller.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import { countNodes, nodeCountWords, type NodeState } from '../core/status/node-states.ts';
import { failuresOf } from '../core/status/desired.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import type { HostReport } from '../core/traffic/report.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { type PoolStatus, poolStatus } from './pool-status.ts';

type ShownPlan = Pick<Plan, 'assignments' | 'table' | 'pool'>;
type ShownReport = Pick<HostReport, 'listeners'>;

export type SayWhenReadyDeps = {
  readonly plan: () => ShownPlan | undefined;
  readonly report: () => ShownReport;
  /** All nodes of the cluster; known with the first plan. */
  readonly nodeStates: () => ReadonlyMap<NodeName, NodeState> | undefined;
  /** Why the host is not ready, a line each. */
  readonly notReady: () => readonly string[];
  /** Set by a plan, a report of the host, a claim of the Lease, and a change of the host's troubles. */
  readonly changed: Pick<Latch, 'wait'>;
  readonly clock: Clock;
  readonly log: Log;
};

/** A Service whose finalizers cannot be written delays the line no longer than this. */
const patienceMs = 10_000;

/**
 * Logs once in a term that the host serves its Services: the last line of a start. Looks again when `changed` is set, and
 * waits until `signal` aborts.
 */
export async function sayWhenReady(deps: SayWhenReadyDeps, signal: AbortSignal): Promise<void> {
  await sayOnce(deps, signal); // in a function of its own, which does not keep the plan
  await untilAborted(signal);
}

async function sayOnce(
  { plan, report, nodeStates, notReady, changed, clock, log }: SayWhenReadyDeps,
  signal: AbortSignal,
): Promise<void> {
  /** Those that may be pending since the last look over all: a start has thousands of changes, each settles a few. */
  let pending: ServiceKey[] | undefined;
  const until = async <T>(find: () => T | undefined, within: AbortSignal): Promise<T> => {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      await changed.wait(within);
    }
  };
  const ready = (): ShownPlan | undefined => (notReady().length === 0 ? plan() : undefined);
  const settled = (): ShownPlan | undefined => {
    const found = ready();
    if (found === undefined) return undefined;
    const isPending = pendingIn(found, report());
    pending ??= [...found.assignments.keys()];
    while (pending.length > 0 && !isPending(pending.at(-1))) pending.pop();
    if (pending.length === 0) pending = [...found.assignments.keys()].filter(isPending);
    return pending.length === 0 ? found : undefined;
  };
  await until(ready, signal);
  using patience = clock.deadline(patienceMs, signal);
  await until(settled, patience.signal).catch(() => signal.throwIfAborted());
  const found = await until(ready, signal);
  const nodes = nodeCountWords(countNodes(nodeStates() ?? new Map()));
  log.info({}, poolWords(poolStatus(found)));
  log.info({}, `ready: ${serviceWords(found, report())}; nodes: ${nodes}`);
}

type ServiceReadiness = 'served' | 'not served' | 'pending' | 'without an address';

function readinessOf(assignment: Assignment, { table }: ShownPlan, { listeners }: ShownReport): ServiceReadiness {
  const { addresses } = assignment;
  if (addresses.length === 0) return 'without an address';
  const failures = failuresOf(assignment, { listeners: table.listeners, reports: listeners });
  if (failures === undefined) return 'pending';
  return failures.length === 0 && addresses.some(({ served }) => served.length > 0) ? 'served' : 'not served';
}

/** Whether the host has not reported on a Service. */
function pendingIn(plan: ShownPlan, report: ShownReport): (key: ServiceKey | undefined) => boolean {
  return (key) => {
    const assignment = key && plan.assignments.get(key);
    return assignment !== undefined && readinessOf(assignment, plan, report) === 'pending';
  };
}

/** `7 Services served, 4 without an address`. */
function serviceWords(plan: ShownPlan, report: ShownReport): string {
  const counts: Record<ServiceReadiness, number> = { served: 0, 'not served': 0, pending: 0, 'without an address': 0 };
  for (const assignment of plan.assignments.values()) counts[readinessOf(assignment, plan, report)]++;
  const { served, ...others } = counts;
  const rest = Object.entries(others).filter(([, count]) => count > 0);
  return [`${served} ${served === 1 ? 'Service' : 'Services'} served`, ...rest.map(([what, n]) => `${n} ${what}`)].join(
    ', ',
  );
}

const mostRanges = 5;

function poolWords({ ranges, size, used, isOwn }: PoolStatus): string {
  const more = ranges.length > mostRanges ? [`${ranges.length - mostRanges} more ranges`] : [];
  const shown = [...ranges.slice(0, mostRanges), ...more].join(', ');
  const usage = isOwn ? "this host's own, which Services share by port" : `${used} of ${size} used`;
  return `pool ${shown || 'without addresses'}: ${usage}`;
}

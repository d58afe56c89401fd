import type { Assignment } from '../core/addresses/assignment.ts';
import { conditionTypes } from '../core/model/contract.ts';
import type { Condition } from '../core/model/service.ts';
import type { StatusInput } from '../core/status/status-input.ts';
import { isDirectToOwnNodes, unreachedNodes } from '../core/status/unreached-nodes.ts';
import type { HostReport } from '../core/traffic/report.ts';
import { listenerKey, type TrafficTable } from '../core/traffic/table.ts';
import type { Requeue } from '../kube/queue.ts';
import { soonest } from './dropping.ts';

/**
 * A node with ready endpoints that does not answer is named after this long. The endpoints of one that reboots or is dead are not ready any
 * more by then (Kubernetes needs about 50 s), and its time begins again when they are.
 */
export const unansweredGraceMs = 60_000;

/** Since when each node of a Service does not answer, by node and family (`n1 4`); monotonic ms. */
export type UnansweredSince = ReadonlyMap<string, number>;

/** The same object for most Services (docs/adr/0021). */
const noneUnanswered: UnansweredSince = new Map();

/**
 * The nodes of a Service that `direct` does not reach, and when that answer changes by time alone. `since`: by the last call. At the first
 * one (`undefined`), conditions that name such nodes already do not wait: a new term changes no status. `unreached` is `undefined` while
 * the endpoints of the Service are not known.
 */
export function judgeUnreached(
  assignment: Pick<Assignment, 'addresses'>,
  table: TrafficTable,
  report: HostReport,
  conditions: readonly Condition[],
  since: UnansweredSince | undefined,
  nowMs: number,
): { readonly since: UnansweredSince | undefined; readonly later: Requeue } & Pick<StatusInput, 'unreached'> {
  const found = new Map<string, number>();
  if (!areServersKnown(assignment, table)) return { since, later: undefined, unreached: undefined };
  const isNamed =
    since === undefined &&
    conditions.some(({ type, reason }) => type === conditionTypes.serving && reason === 'NodesNotReached');
  const firstMs = isNamed ? nowMs - unansweredGraceMs : nowMs;
  let later: Requeue;
  const unreached = unreachedNodes(assignment, table, report, (node, family) => {
    const hop = `${node} ${family}`;
    const sinceMs = since?.get(hop) ?? firstMs;
    found.set(hop, sinceMs);
    const leftMs = sinceMs + unansweredGraceMs - nowMs;
    if (leftMs > 0) later = soonest(later, { requeueAfterMs: leftMs });
    return leftMs <= 0;
  });
  return { since: found.size === 0 ? noneUnanswered : found, unreached, later };
}

function areServersKnown({ addresses }: Pick<Assignment, 'addresses'>, { listeners, backends }: TrafficTable): boolean {
  return addresses.every(({ ip, served }) =>
    served.every(({ port, protocol }) => {
      const listener = listeners.get(listenerKey(ip, port, protocol));
      return listener === undefined || !isDirectToOwnNodes(listener) || backends.has(listener.backend);
    }),
  );
}

import { kubeProxyHealthPort } from '../core/model/contract.ts';
import type { NodeName } from '../core/model/names.ts';
import type { NodeHealth } from '../core/traffic/report.ts';
import type { CheckedNode } from '../ports/health.ts';
import { type HealthState, silentProbes } from './policy.ts';

/**
 * The health of a node, with causes that differ for an administrator. `unchecked`: it joined others, and no check has found it healthy
 * or failed for good; a Node is there before its kube-proxy runs.
 */
export type DetailedHealth = 'unchecked' | 'up' | 'unhealthy' | 'refusing' | 'silent' | 'kept';

/** `undefined`: there is no verdict yet. */
export const healthOf: Readonly<Record<DetailedHealth, NodeHealth | undefined>> = {
  unchecked: undefined,
  up: 'up',
  unhealthy: 'unhealthy',
  refusing: 'unhealthy',
  silent: 'silent',
  kept: 'silent',
};

/** What the log says when a node becomes this. */
export const healthWords: Readonly<Record<Exclude<DetailedHealth, 'unchecked'>, string>> = {
  up: 'node is up again',
  unhealthy: 'kube-proxy on this node reports that it is unhealthy: no new connections',
  refusing:
    `port ${kubeProxyHealthPort} of this node does not answer as kube-proxy's health port does, and other nodes do: ` +
    'no new connections. Is kube-proxy running there, with the same --healthz-bind-address as on the others?',
  silent: 'node does not answer: no new connections',
  kept: 'node does not answer, and no other node in use does: it stays in use',
};

/** The health of a node after a round. `check`: its last result by the dataplane. */
export function detailedHealth(
  state: HealthState,
  node: NodeName,
  check: CheckedNode | undefined,
  before: DetailedHealth,
): DetailedHealth {
  const health = state.nodes.get(node);
  if (state.mode === 'own') {
    if (health === undefined || health.silent < silentProbes)
      return before === 'unchecked' && health?.silent !== 0 ? before : 'up';
    return health.isOut ? 'silent' : 'kept';
  }
  if (check === undefined) return before;
  if (check.isUp) {
    if (check.answer === undefined) return before; // a new worker has not checked it yet
    return before === 'unchecked' && check.answer !== 'ok' ? before : 'up'; // its first failure
  }
  const answer = check.answer ?? health?.answer;
  if (answer === undefined) return before;
  return answer === 'silent' ? 'silent' : answer === 'alive' ? 'refusing' : 'unhealthy';
}

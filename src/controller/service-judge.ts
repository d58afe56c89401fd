import type { ServiceKey } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import { type DesiredStatus, desiredStatus, failuresOf } from '../core/status/desired.ts';
import { nodeTroubleOfService } from '../core/status/node-trouble.ts';
import type { StatusInput } from '../core/status/status-input.ts';
import { isLocal } from '../core/traffic/dataplane.ts';
import { countLocalNodes, type ServiceEndpoints } from '../core/traffic/local.ts';
import { countPods } from '../core/traffic/pods.ts';
import type { TrafficTable } from '../core/traffic/table.ts';
import { gapsOf, noGaps } from '../core/traffic/without-endpoints.ts';
import type { Requeue } from '../kube/queue.ts';
import type { Clock } from '../ports/clock.ts';
import type { HostLink, Plan } from './controller.ts';
import { judgeDropping, soonest } from './dropping.ts';
import { judgeListeners, type Lacking } from './endpoint-grace.ts';
import { judgeUnreached, type UnansweredSince } from './unreached.ts';

/** What is remembered of a Service from one judgement to the next. */
export type JudgedService = {
  lacking: Lacking | undefined;
  /** Monotonic ms; since when packets of it are dropped. */
  droppingSinceMs: number | undefined;
  /** `undefined`: it was not judged yet. */
  unanswered: UnansweredSince | undefined;
};

export type ServiceJudgeDeps = {
  readonly host: HostLink;
  /** Ready endpoints of a Service; `undefined`: not known. */
  readonly endpoints: (service: ServiceKey) => number | undefined;
  /** See `EndpointsByService`. */
  readonly areEndpointsCurrent: () => boolean;
  /** Its endpoints themselves. */
  readonly podsOf: (service: ServiceKey) => ServiceEndpoints | undefined;
  readonly clock: Clock;
};

type ServiceJudgement = { readonly desired?: DesiredStatus; readonly later?: Requeue };

/**
 * The status that the Service should have, and when that changes by time alone. Without `desired` the present status stays: the
 * Service is not ours any more, or the host has not reported on all of its listeners.
 */
export function makeServiceJudge(
  deps: ServiceJudgeDeps,
): (service: Service, plan: Plan, mine: JudgedService) => ServiceJudgement {
  const { host, clock } = deps;

  /** How many of its endpoints are ready; `undefined`: not known. */
  const readyEndpoints = ({ key, spec }: Service, table: TrafficTable): number | undefined => {
    const local = isLocal(spec) ? countLocalNodes(key, table) : undefined;
    const ready = countPods({ key, spec }, table) ?? local ?? deps.endpoints(key);
    return ready === 0 && !deps.areEndpointsCurrent() ? undefined : ready;
  };

  return (service, plan, mine) => {
    const { key, status } = service;
    const { table } = plan;
    const assignment = plan.assignments.get(key);
    if (assignment === undefined) {
      mine.droppingSinceMs = undefined;
      mine.unanswered = undefined;
      return {};
    }
    const report = host.report();
    const known = { listeners: table.listeners, reports: report.listeners };
    const failures = failuresOf(assignment, known);
    if (failures === undefined) return {};
    const atMs = clock.monotonic();
    const ready = readyEndpoints(service, table);
    const isOutdated = ready === undefined && !deps.areEndpointsCurrent(); // the host refuses no connections then
    const gaps = ready === undefined ? noGaps : gapsOf(service, assignment, deps.podsOf(key));
    const endpoints = judgeListeners(ready, gaps, status.conditions, mine.lacking, atMs);
    const packets = judgeDropping(assignment, table, report, mine.droppingSinceMs, atMs);
    const reached = judgeUnreached(assignment, table, report, status.conditions, mine.unanswered, atMs);
    mine.lacking = endpoints.lacking;
    mine.droppingSinceMs = packets.sinceMs;
    mine.unanswered = reached.since;
    const input: StatusInput = {
      service,
      assignment,
      ...known,
      unconfirmed: report.unconfirmed,
      nodeTrouble: nodeTroubleOfService(plan.nodeTrouble, key, table, report.health),
      isOverBudget: plan.overBudget.has(key),
      nearestProfile: plan.overProfiles.get(key),
      hasEndpoints: isOutdated || endpoints.hasEndpoints,
      gaps: isOutdated ? [] : endpoints.gaps,
      dropping: packets.dropping,
      unreached: reached.unreached,
      podFacts: { endpoints: deps.podsOf(key), place: plan.podPlace, excess: plan.overServers.get(key) },
      nowMs: clock.now(),
    };
    return {
      desired: desiredStatus(input, failures),
      later: soonest(soonest(endpoints.later, packets.later), reached.later),
    };
  };
}

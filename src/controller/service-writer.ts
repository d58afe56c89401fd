import { projectService } from '../api/service.ts';
import type { Eligibility } from '../core/addresses/eligibility.ts';
import { assertNever } from '../core/assert-never.ts';
import { conditionTypes } from '../core/model/contract.ts';
import type { ServiceKey, ServiceUid } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import { afterWrite, beforeWrite, type Contest, noContest } from '../core/status/contest.ts';
import { type DesiredStatus, desiredStatus, type Readiness } from '../core/status/desired.ts';
import { isSameStatus, nextWrite } from '../core/status/next-write.ts';
import type { PersistentMap } from '../core/persistent-map.ts';
import type { Reason } from '../core/reasons.ts';
import { isKubeError, RetryError } from '../kube/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Row, TrafficTable } from '../core/traffic/table.ts';
import type { HostLink } from './controller.ts';
import type { ServiceWrites } from './service-writes.ts';
import type { Plan } from './snapshot.ts';
import type { Tell } from './tell.ts';

/** The Services, as the writer sees them. */
export type ServiceStore = {
  objects(): PersistentMap<ServiceKey, Service>;
  versionOf(key: ServiceKey): string | undefined;
  /** The answer of a write, so that nobody waits for its echo on the watch. */
  put(object: Service, resourceVersion: string): void;
};

export type ServiceWriterDeps = {
  readonly services: ServiceStore;
  readonly plan: () => Plan | undefined;
  readonly host: HostLink;
  readonly writes: ServiceWrites;
  /** False while another process may hold the lease: nothing is written then. */
  readonly mayWrite: () => boolean;
  readonly tell: Tell;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** Brings one Service's finalizers and status to what the plan says: the run of a queue, one key at a time. */
export type ServiceWriter = (
  key: ServiceKey,
  signal: AbortSignal,
) => Promise<{ readonly requeueAfterMs?: number } | undefined>;

const publishBuckets: readonly number[] = [0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.15, 0.3, 0.6, 1, 2, 5, 10, 30];
const notLeaderRetryMs = 1_000;

export function makeServiceWriter(deps: ServiceWriterDeps): ServiceWriter {
  const { services, host, writes, clock, log } = deps;
  const publishSeconds = deps.metrics.histogram(
    'furiwake_service_publish_seconds',
    'From first seeing a Service to its published address',
    publishBuckets,
  );
  const conflicts = deps.metrics.counter(
    'furiwake_status_conflicts_total',
    'Services whose status somebody else kept changing',
  );
  const memory = new Map<ServiceKey, Memory>();

  const writeFinalizers = async (
    service: Service,
    finalizers: readonly string[],
    signal: AbortSignal,
  ): Promise<undefined> => {
    const version = services.versionOf(service.key);
    if (version === undefined) return undefined;
    keep(services, await writes.finalizers(service, version, finalizers, signal));
    return undefined;
  };

  const writeStatus = async (
    service: Service,
    status: DesiredStatus,
    mine: Memory,
    signal: AbortSignal,
  ): Promise<{ requeueAfterMs?: number } | undefined> => {
    const step = beforeWrite(mine.contest, service.status, clock.now());
    mine.contest = step.contest;
    switch (step.action) {
      case 'wait':
        return { requeueAfterMs: (step.contest.pausedUntilMs ?? 0) - clock.now() };
      case 'giveUp': {
        conflicts.add(1);
        const note =
          'somebody else changed the status three times within a minute; not written for ten minutes, traffic goes on';
        log.warn({ service: service.key, reason: 'StatusConflict', manager: service.status.ingressManager }, note);
        deps.tell(service, 'Warning', 'StatusConflict', note);
        return { requeueAfterMs: (step.contest.pausedUntilMs ?? 0) - clock.now() };
      }
      case 'repair':
        log.warn(
          { service: service.key, reason: 'StatusRepaired', manager: service.status.ingressManager },
          'somebody else changed the status; writing the truth back',
        );
        break;
      case 'write':
        break;
      default:
        assertNever(step.action);
    }
    keep(services, await writes.status(service, status, signal));
    const stored = services.objects().get(service.key)?.status;
    // The same words are remembered once: with 10,000 Services it saves 10 MB.
    mine.contest = afterWrite(mine.contest, stored !== undefined && isSameStatus(stored, status) ? stored : status);
    if (status.ingress.length > 0 && mine.seenAtMs !== undefined) {
      publishSeconds.observe((clock.monotonic() - mine.seenAtMs) / 1000);
      mine.seenAtMs = undefined;
    }
    log.info(
      { service: service.key, addresses: status.ingress.map((entry) => entry.ip), reason: reasonOf(status) },
      status.ingress.length > 0 ? 'published' : 'not published',
    );
    if (step.action === 'repair')
      deps.tell(service, 'Warning', 'StatusRepaired', 'somebody else changed the status; the truth was written back');
    tellConditions(service, status, deps.tell);
    return undefined;
  };

  /** What is remembered of a Service while it is ours; one that leaves, or a new one of its name, starts afresh. */
  const memoryOf = (service: Service, eligibility: Eligibility): Memory => {
    const known = memory.get(service.key);
    if (eligibility === 'ours' && known?.uid === service.uid) return known;
    const isUnpublished = service.status.ingress.length === 0;
    const seenAtMs = isUnpublished ? clock.monotonic() : undefined;
    const fresh: Memory = { uid: service.uid, contest: noContest, seenAtMs };
    if (eligibility === 'ours') memory.set(service.key, fresh);
    else memory.delete(service.key);
    return fresh;
  };

  return async (key, signal) => {
    const service = services.objects().get(key);
    const plan = deps.plan();
    if (service === undefined) memory.delete(key);
    if (service === undefined || plan === undefined) return undefined;
    const planned = plan.services.get(key);
    // Another object than the plan knows, or another wish: the next turn looks at it, and has it looked at here.
    if (planned?.uid !== service.uid || planned.spec !== service.spec) return undefined;
    const eligibility = plan.eligibility.get(key) ?? 'foreign';
    if (eligibility === 'held')
      deps.tell(
        service,
        'Warning',
        'HeldByAnother',
        'left alone: it has no class, and another controller holds its status',
      );
    const mine = memoryOf(service, eligibility);
    const assignment = plan.assignments.get(key);
    const desired =
      eligibility === 'ours' && assignment !== undefined
        ? desiredStatus({
            service,
            assignment,
            readiness: answersFor(plan.table, host),
            served: addressesOf(host.inForce().byService.get(key)),
            nodes: plan.table.nodes,
            nowMs: clock.now(),
          })
        : undefined;
    const write = nextWrite({
      service,
      eligibility,
      desired,
      isProgrammed: host.mayHold().byService.has(key),
    });
    if (write === undefined) return undefined;
    if (!deps.mayWrite()) throw new RetryError(notLeaderRetryMs);
    try {
      return write.kind === 'finalizers'
        ? await writeFinalizers(service, write.finalizers, signal)
        : await writeStatus(service, write.status, mine, signal);
    } catch (error) {
      if (isKubeError(error, 'NOT_FOUND')) {
        log.debug({ service: key, err: error }, 'the Service is gone');
        return undefined;
      }
      // Planned with an object that is not the one that is there, or its type changed under us: plan again with the next
      // object, do not retry (core/v1). Not so for finalizers: a foreign write that made their `test` fail (RFC 6902) may
      // have touched only what we do not keep, and then the watch tells us of nothing.
      if (write.kind === 'status' && isKubeError(error, 'CONFLICT', 'INVALID')) {
        log.warn(
          { service: key, err: error },
          'the API server refused the status; planning again when the Service changes',
        );
        return undefined;
      }
      throw error;
    }
  };
}

/** The host's answers to the rows that the plan has, whatever else may be in force for these listeners. */
function answersFor({ rows }: TrafficTable, host: HostLink): Readiness {
  return {
    get: (listener) => {
      const row = rows.get(listener);
      return row && host.answerTo(row);
    },
  };
}

function addressesOf(rows: readonly Row[] = []): ReadonlySet<string> {
  return new Set(rows.map(({ address }) => address.text));
}

type Memory = { readonly uid: ServiceUid; contest: Contest; seenAtMs: number | undefined };

function keep(services: ServiceStore, answer: unknown): void {
  const version = (answer as { metadata?: { resourceVersion?: string } }).metadata?.resourceVersion;
  if (version !== undefined) services.put(projectService(answer), version);
}

function reasonOf({ conditions }: DesiredStatus): string | undefined {
  return (
    conditions.find((entry) => entry.status === 'False') ??
    conditions.find((entry) => entry.type === conditionTypes.serving)
  )?.reason;
}

/** Events for what is new in the conditions: what changed, and only after it is written. */
function tellConditions(before: Service, status: DesiredStatus, tell: Tell): void {
  for (const condition of status.conditions) {
    if (condition.type === conditionTypes.portsError || before.status.conditions.includes(condition)) continue;
    if (condition.reason === 'NoAddress') continue; // the other condition says why
    tell(before, condition.status === 'True' ? 'Normal' : 'Warning', condition.reason as Reason, condition.message);
  }
}

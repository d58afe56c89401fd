import { assertNever } from '../core/assert-never.ts';
import { conditionTypes, fieldManager } from '../core/model/contract.ts';
import type { ServiceKey, ServiceUid } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import { afterWrite, beforeWrite, noConflict, type StatusConflict } from '../core/status/conflict.ts';
import type { DesiredStatus } from '../core/status/desired.ts';
import { isSameIngress, isSameStatus, nextWrite, type Write } from '../core/status/next-write.ts';
import { isKubeError } from '../kube/errors.ts';
import type { QueueOptions, Requeue } from '../kube/queue.ts';
import type { SharedTrouble } from '../kube/shared-trouble.ts';
import type { Store } from '../kube/store.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import { type ConditionPace, paceAfter } from './condition-pace.ts';
import type { Plan } from './controller.ts';
import { soonest } from './dropping.ts';
import {
  attemptsBeforeWarning,
  noLeaseWords,
  notWritten,
  pauseWords,
  unwrittenAfter,
  type Unwritten,
} from './unwritten.ts';
import { type JudgedService, makeServiceJudge, type ServiceJudgeDeps } from './service-judge.ts';
import { type AddedFinalizers, keep, makeFinalizerWriter, WriteAlteredError } from './finalizer-writer.ts';
import type { Holders } from './holders.ts';
import { type RecordEvent, recordConditions } from './record-events.ts';
import type { ServiceWrites } from './service-writes.ts';
import type { Stores } from './stores.ts';

export type ServiceWriterDeps = ServiceJudgeDeps & {
  readonly services: Pick<Store<Service, ServiceKey>, 'objects' | 'versionOf' | 'put'>;
  readonly plan: () => Plan | undefined;
  readonly holders: Holders;
  readonly decodeService: Stores['decodeService'];
  readonly writes: ServiceWrites;
  /** False while another process may hold the Lease: nothing is written then, and Services that need it are held back until it is over. */
  readonly mayWrite: () => boolean;
  readonly holdBack: (service: ServiceKey) => void;
  /** Of the writes to all Services; the queue reports what fails. */
  readonly trouble: Omit<SharedTrouble<ServiceKey>, 'failed'>;
  readonly recordEvent: RecordEvent;
  /** Gets the Services that cannot be written. */
  readonly unwritten: Map<ServiceKey, Unwritten>;
  readonly log: Log;
  readonly metrics: Metrics;
};

const publishBuckets: readonly number[] = [0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.15, 0.3, 0.6, 1, 2, 5, 10, 30];
/** After a first 404: by then the watch has reported the deletion, unless a webhook sent the 404 (it may send any code). */
const goneRetryMs = 2_000;

/** What is remembered of a Service while it is ours or leaving. */
type ServiceMemory = JudgedService & {
  readonly uid: ServiceUid;
  conflict: StatusConflict;
  conditionPace: ConditionPace | undefined;
  added: AddedFinalizers | undefined;
  /** Monotonic ms, until its address is published. */
  seenAtMs: number | undefined;
  refusedWrites: number;
  /** A write was answered with 404. */
  mayBeGone: boolean;
};

/** Brings one Service's finalizers and status to what the plan says: the run of a queue, one key at a time. */
export function makeServiceWriter(deps: ServiceWriterDeps): QueueOptions<ServiceKey>['run'] {
  const { services, writes, trouble, clock, log, unwritten, recordEvent } = deps;
  const publishSeconds = deps.metrics.histogram(
    'furiwake_service_publish_seconds',
    'From first seeing a Service to its published address',
    publishBuckets,
  );
  const conflicts = deps.metrics.counter(
    'furiwake_status_conflicts_total',
    'Services whose status another client kept changing',
  );
  const refused = deps.metrics.counter(
    'furiwake_writes_refused_total',
    'Writes to Services that the API server refused, or that an admission plugin or another client reverted',
  );
  const finalizers = makeFinalizerWriter({ ...deps, onRemoved: () => refused.add(1) });
  const memory = new Map<ServiceKey, ServiceMemory>();

  const forget = (key: ServiceKey): undefined => {
    memory.delete(key);
    unwritten.delete(key);
    trouble.drop(key);
  };

  /** A new Service with the name of an old one starts afresh. */
  const memoryOf = ({ key, uid, status }: Service): ServiceMemory => {
    const known = memory.get(key);
    if (known?.uid === uid) return known;
    const fresh: ServiceMemory = {
      uid,
      conflict: noConflict,
      conditionPace: undefined,
      added: undefined,
      seenAtMs: status.ingress.length === 0 ? clock.monotonic() : undefined,
      lacking: undefined,
      droppingSinceMs: undefined,
      unanswered: undefined,
      refusedWrites: 0,
      mayBeGone: false,
    };
    memory.set(key, fresh);
    return fresh;
  };

  const judge = makeServiceJudge(deps);

  const writeStatus = async (
    service: Service,
    status: DesiredStatus,
    mine: ServiceMemory,
    signal: AbortSignal,
  ): Promise<Requeue> => {
    const step = beforeWrite(mine.conflict, service, status, clock.monotonic());
    mine.conflict = step.conflict;
    if (step.conflict.pausedUntilMs !== undefined)
      unwritten.set(service.key, { reason: 'StatusConflict', words: pauseWords, wanted: status });
    const { ingressManager } = service.status;
    const manager = ingressManager === fieldManager ? undefined : ingressManager; // a field that was removed has none
    switch (step.action) {
      case 'wait':
        return { requeueAfterMs: (step.conflict.pausedUntilMs ?? 0) - clock.monotonic() };
      case 'giveUp': {
        conflicts.add(1);
        const note =
          'another controller keeps changing this status; pausing status updates for 10 minutes, traffic continues';
        log.warn({ service: service.key, reason: 'StatusConflict', manager }, note);
        recordEvent(service, 'Warning', 'StatusConflict', note);
        return { requeueAfterMs: (step.conflict.pausedUntilMs ?? 0) - clock.monotonic() };
      }
      case 'repair':
      case 'write':
        break;
      default:
        assertNever(step.action);
    }
    const answer = keep(deps, await writes.status(service, status, signal));
    if (!isSameStatus(answer.status, status)) throw new WriteAlteredError('an admission plugin changes it');
    const stored = services.objects().get(service.key)?.status;
    // Equal texts are kept once: with 10,000 Services it saves 10 MB.
    const published = stored !== undefined && isSameStatus(stored, status) ? stored : status;
    mine.conflict = afterWrite(mine.conflict, published);
    if (step.action === 'repair') {
      const note = 'another client changed the status; restored it';
      log.warn({ service: service.key, reason: 'StatusRepaired', manager }, note);
      recordEvent(service, 'Warning', 'StatusRepaired', note);
    }
    if (status.ingress.length > 0 && mine.seenAtMs !== undefined) {
      publishSeconds.observe((clock.monotonic() - mine.seenAtMs) / 1000);
      mine.seenAtMs = undefined;
    }
    notePublished(service, status);
    recordConditions(service, status, recordEvent);
    return undefined;
  };

  const notePublished = (before: Service, { ingress, conditions }: DesiredStatus): void => {
    const [old, addresses] = [before.status.ingress, ingress].map((entries) => entries.map(({ ip }) => ip));
    const reason = reasonOf({ ingress, conditions });
    if (addresses === undefined || addresses.length === 0 || reason === 'AddressNotInPool') return;
    const isNew = old?.join() !== addresses.join();
    log[isNew ? 'info' : 'debug']({ service: before.key, addresses, reason }, isNew ? 'published' : 'status updated');
  };

  /** A refusal or a conflict that is known says more. */
  const noteUnwritten = (key: ServiceKey, found: Unwritten): void => {
    const known = unwritten.get(key);
    unwritten.set(
      key,
      known === undefined || known.reason === 'NotWritten' ? found : { ...known, wanted: found.wanted },
    );
  };

  /** The API server refuses a write, or an admission plugin changes it: it is retried with growing waits; an event says so. */
  const noteFailure = (service: Service, write: Write, error: unknown, mine: ServiceMemory): void => {
    const found = unwrittenAfter(write, error);
    if (found?.reason === 'NotWritten') noteUnwritten(service.key, found);
    if (found?.reason !== 'WriteRefused') return;
    refused.add(1);
    mine.refusedWrites++;
    if (mine.refusedWrites < attemptsBeforeWarning) return;
    unwritten.set(service.key, found);
    recordEvent(service, 'Warning', 'WriteRefused', found.words);
  };

  return async (key, signal) => {
    const service = services.objects().get(key);
    const plan = deps.plan();
    if (service === undefined) return forget(key);
    if (plan === undefined) return undefined;
    const planned = plan.services.get(key);
    // Another object than the plan knows, or another spec: the next turn plans for it and enqueues it.
    if (planned?.uid !== service.uid || planned.spec !== service.spec) return undefined;
    const eligibility = plan.eligibility.get(key) ?? 'foreign';
    if (eligibility === 'foreign' || eligibility === 'occupied') return forget(key);
    const mine = memoryOf(service);
    const { desired, later } = judge(service, plan, mine);
    const write = nextWrite({ service, eligibility, desired, isProgrammed: deps.holders.holds(key) });
    if (write === undefined) {
      trouble.drop(key);
      unwritten.delete(key);
      return later;
    }
    if (!deps.mayWrite()) {
      noteUnwritten(key, notWritten(write, noLeaseWords));
      deps.holdBack(key);
      return undefined;
    }
    const isPaced = eligibility === 'ours' && changesConditionsOnly(service, write);
    const pace = isPaced
      ? paceAfter(mine.conditionPace, !turnsFalse(service, write), clock.monotonic())
      : mine.conditionPace;
    if (pace !== undefined && 'waitMs' in pace) return soonest(later, { requeueAfterMs: pace.waitMs });
    try {
      const outcome =
        write.kind === 'status'
          ? await writeStatus(service, write.status, mine, signal)
          : eligibility === 'ours'
            ? await finalizers.add(service, write.finalizers, mine, signal)
            : await finalizers.remove(service, write.finalizers, signal);
      mine.conditionPace = pace;
      mine.refusedWrites = 0;
      mine.mayBeGone = false;
      if (mine.conflict.pausedUntilMs === undefined) unwritten.delete(key);
      trouble.over(key);
      return outcome ?? later;
    } catch (error) {
      if (isKubeError(error, 'NOT_FOUND') && !mine.mayBeGone) {
        mine.mayBeGone = true;
        trouble.over(key);
        log.debug({ service: key, err: error }, 'the Service may be gone');
        return { requeueAfterMs: goneRetryMs };
      }
      // Unless it is another object by now, a webhook or a policy refuses the write, and no watch event reports when that ends.
      noteFailure(service, write, error, mine);
      throw error;
    }
  };
}

function changesConditionsOnly({ status }: Service, write: Write): boolean {
  return write.kind === 'status' && isSameIngress(status.ingress, write.status.ingress);
}

function turnsFalse({ status }: Service, write: Write): boolean {
  const isTrue = (type: string): boolean =>
    status.conditions.some((each) => each.type === type && each.status === 'True');
  return (
    write.kind === 'status' && write.status.conditions.some((each) => each.status === 'False' && isTrue(each.type))
  );
}

function reasonOf({ conditions }: DesiredStatus): string | undefined {
  return (
    conditions.find((entry) => entry.status === 'False') ??
    conditions.find((entry) => entry.type === conditionTypes.serving)
  )?.reason;
}

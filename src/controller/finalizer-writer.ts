import { isPowerOfTwo, waitAfter, waitLimits } from '../async/backoff.ts';
import { ourFinalizers } from '../core/model/contract.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import type { Requeue } from '../kube/queue.ts';
import type { Store } from '../kube/store.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Stores } from './stores.ts';
import type { RecordEvent } from './record-events.ts';
import type { ServiceWrites } from './service-writes.ts';

/** The API server accepted a write and stored something else: an admission plugin changed it. */
export class WriteAlteredError extends Error {
  override readonly name = 'WriteAlteredError';
  readonly code = 'WRITE_ALTERED';
}

/** Finalizers of one Service that were added, by this process: how often in a row, and when last (monotonic ms). */
export type AddedFinalizers = { readonly times: number; readonly atMs: number };

export type FinalizerWriter = {
  /**
   * Adds them. Another client may remove them again at once, and each removal is an event of the watch: so they are added again
   * after a wait since the last time, which grows from a second to a minute.
   */
  add(
    service: Service,
    finalizers: readonly string[],
    memory: { added: AddedFinalizers | undefined },
    signal: AbortSignal,
  ): Promise<Requeue>;
  remove(service: Service, finalizers: readonly string[], signal: AbortSignal): Promise<void>;
};

/** After this time without a removal the next one counts as the first. */
const calmMs = 600_000;

export function makeFinalizerWriter(deps: {
  readonly services: KeptServices;
  readonly decodeService: Stores['decodeService'];
  readonly writes: Pick<ServiceWrites, 'finalizers'>;
  readonly recordEvent: RecordEvent;
  /** Called when they were removed and are added again. */
  readonly onRemoved: () => void;
  readonly clock: Clock;
  readonly log: Log;
}): FinalizerWriter {
  const { services, writes, recordEvent, onRemoved, clock, log } = deps;

  const write = async (service: Service, finalizers: readonly string[], signal: AbortSignal): Promise<boolean> => {
    const version = services.versionOf(service.key);
    if (version === undefined) return false;
    const answer = keep(deps, await writes.finalizers(service, version, finalizers, signal));
    const altered = ourFinalizers.filter((name) => answer.finalizers.includes(name) !== finalizers.includes(name));
    if (altered.length > 0) throw new WriteAlteredError(`an admission plugin changes them: ${altered.join(', ')}`);
    return true;
  };

  return {
    add: async (service, finalizers, memory, signal) => {
      const { added } = memory;
      const nowMs = clock.monotonic();
      const before = added !== undefined && nowMs - added.atMs < calmMs ? added : { times: 0, atMs: nowMs };
      const waitMs = before.times === 0 ? 0 : before.atMs + waitAfter(before.times, waitLimits.patient) - nowMs;
      if (waitMs > 0) return { requeueAfterMs: waitMs };
      if (!(await write(service, finalizers, signal))) return undefined;
      memory.added = { times: before.times + 1, atMs: nowMs };
      if (added === undefined) return undefined;
      onRemoved();
      if (!isPowerOfTwo(Math.max(1, before.times))) return undefined;
      const note = 'another client removed the finalizers of furiwake; added them again';
      log.warn({ service: service.key, reason: 'FinalizersRepaired', times: before.times }, note);
      recordEvent(service, 'Warning', 'FinalizersRepaired', note);
      return undefined;
    },
    remove: async (service, finalizers, signal) => {
      await write(service, finalizers, signal);
    },
  };
}

/** The part of the store that a write needs. */
export type KeptServices = Pick<Store<Service, ServiceKey>, 'versionOf' | 'put'>;

/** Decodes the answer to a write, and gives it to the store. */
export function keep(
  { services, decodeService }: { readonly services: KeptServices; readonly decodeService: Stores['decodeService'] },
  answer: unknown,
): Service {
  const service = decodeService(answer);
  const version = (answer as { metadata?: { resourceVersion?: string } } | undefined)?.metadata?.resourceVersion;
  if (version !== undefined) services.put(service, version);
  return service;
}

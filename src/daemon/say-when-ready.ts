import { untilAborted } from '../async/abort.ts';
import type { Latch } from '../async/latch.ts';
import type { ControllerParts } from '../controller/assemble.ts';
import type { Log } from '../ports/log.ts';

/**
 * Logs once in a term that the host serves its Services: the last line of a start. Looks again when `changed` is set, and
 * waits until `signal` aborts.
 */
export async function sayWhenReady(
  {
    stores,
    controller,
    notReady,
    changed,
    log,
  }: {
    readonly stores: { readonly nodes: Pick<ControllerParts['stores']['nodes'], 'objects'> };
    readonly controller: Pick<ControllerParts['controller'], 'plan'>;
    /** Why the host is not ready, a line each. */
    readonly notReady: () => readonly string[];
    /** Set by a published plan, a claim of the Lease, and a change of the host's troubles. */
    readonly changed: Pick<Latch, 'wait'>;
    readonly log: Log;
  },
  signal: AbortSignal,
): Promise<void> {
  while (controller.plan() === undefined || notReady().length > 0) await changed.wait(signal);
  const services = [...(controller.plan()?.assignments.values() ?? [])];
  const waiting = services.filter(({ addresses }) => addresses.length === 0).length;
  log.info({ services: services.length, withoutAddress: waiting, nodes: stores.nodes.objects().size }, 'ready');
  await untilAborted(signal);
}

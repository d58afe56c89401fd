import { untilAborted } from '../async/abort.ts';
import type { Latch } from '../async/latch.ts';
import type { ControllerParts } from '../controller/assemble.ts';
import type { Plan } from '../controller/controller.ts';
import type { Lease } from '../kube/lease.ts';
import type { Log } from '../ports/log.ts';

type ReadinessParts = {
  readonly stores: Readonly<Record<'services' | 'nodes', { readonly isSynced: boolean }>>;
  readonly controller: { plan(): Pick<Plan, 'nodeTrouble'> | undefined };
};

/** Why this host does not serve what the cluster asks for, a line each. `parts`: of the current term of the Lease. */
export function clusterTroubles({
  lease,
  leaseName,
  parts,
}: {
  readonly lease: Pick<Lease, 'isHeld' | 'trouble'>;
  readonly leaseName: string;
  readonly parts: ReadinessParts | undefined;
}): readonly string[] {
  const isSynced = parts?.stores.services.isSynced === true && parts.stores.nodes.isSynced;
  const nodeTrouble = parts?.controller.plan()?.nodeTrouble;
  return [
    ...(lease.isHeld() ? [] : [lease.trouble() ?? `the Lease ${leaseName} is not held`]),
    ...(isSynced ? [] : ['Services and Nodes are not known yet']),
    // Both families are without a node, so no connection can be served.
    ...(nodeTrouble?.[4] === undefined || nodeTrouble[6] === undefined
      ? []
      : [`no node takes connections: ${nodeTrouble[4]}`]),
  ];
}

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

import type { Controller, Plan } from '../controller/controller.ts';
import type { Lease } from '../kube/lease.ts';

type ReadinessParts = {
  readonly stores: Readonly<Record<'services' | 'nodes', { readonly isSynced: boolean }>>;
  readonly controller: Pick<Controller, 'recordingTrouble'> & { plan(): Pick<Plan, 'nodeTrouble'> | undefined };
};

/**
 * Why this host does not serve what the cluster asks for, a line each. `connecting`: why the API server has not answered
 * yet, which is why all else is missing. `parts`: of the current term of the Lease.
 */
export function clusterTroubles({
  connecting,
  lease,
  leaseName,
  parts,
}: {
  readonly connecting: string | undefined;
  readonly lease: Pick<Lease, 'isHeld' | 'trouble'>;
  readonly leaseName: string;
  readonly parts: ReadinessParts | undefined;
}): readonly string[] {
  if (connecting !== undefined) return [connecting];
  const isSynced = parts?.stores.services.isSynced === true && parts.stores.nodes.isSynced;
  const recordingTrouble = parts?.controller.recordingTrouble();
  const nodeTrouble = parts?.controller.plan()?.nodeTrouble;
  return [
    ...(lease.isHeld() ? [] : [lease.trouble() ?? `the Lease ${leaseName} is not held`]),
    ...(isSynced ? [] : ['Services and Nodes are not known yet']),
    ...(recordingTrouble === undefined ? [] : [`addresses cannot be recorded: ${recordingTrouble}`]),
    // Both families are without a node, so no connection can be served.
    ...(nodeTrouble?.[4] === undefined || nodeTrouble[6] === undefined
      ? []
      : [`no node takes connections: ${nodeTrouble[4].words}`]),
  ];
}

import type { Controller, Plan } from '../controller/controller.ts';
import type { Lease } from '../kube/lease.ts';
import { hostOfIdentity, keptAddressesWords, type ShownLease } from './lease-words.ts';

type ReadinessParts = {
  readonly stores: Readonly<Record<'services' | 'nodes', { readonly isSynced: boolean }>> & {
    readonly unseen: () => readonly string[];
  };
  readonly controller: Pick<Controller, 'recordingTrouble'> & { plan(): Pick<Plan, 'nodeTrouble'> | undefined };
};

/**
 * Why this host does not serve what the cluster asks for, a line each. `connecting`: why the API server has not answered
 * yet, which is why all else is missing. `parts`: of the current term of the Lease.
 */
export function clusterTroubles({
  connecting,
  lease,
  shownLease,
  identity,
  mayServeWithoutLease,
  isAnsweredElsewhere,
  parts,
}: {
  readonly connecting: string | undefined;
  readonly lease: Pick<Lease, 'isHolder' | 'holder' | 'trouble' | 'hostsWithAddresses'>;
  readonly shownLease: ShownLease;
  /** Of this host in the Lease. */
  readonly identity: string;
  /** See `mayServeWithoutLease` of leadership.ts. */
  readonly mayServeWithoutLease: boolean;
  /** Another machine on the LAN answers for an address of this host. */
  readonly isAnsweredElsewhere: boolean;
  readonly parts: ReadinessParts | undefined;
}): readonly string[] {
  if (connecting !== undefined) return [connecting];
  const isSynced = parts?.stores.services.isSynced === true && parts.stores.nodes.isSynced;
  const recordingTrouble = parts?.controller.recordingTrouble();
  const nodeTrouble = parts?.controller.plan()?.nodeTrouble;
  return [
    ...(lease.isHolder()
      ? []
      : leaseTroubles(lease, `${shownLease.namespace}/${shownLease.name}`, mayServeWithoutLease)),
    ...(lease.isHolder() && isAnsweredElsewhere
      ? lease.hostsWithAddresses().map((host) => keptAddressesWords(host, shownLease, identity))
      : []),
    ...(isSynced ? [] : ['Services and Nodes are not known yet']),
    // Without an answer of the API server that is the reason.
    ...(lease.trouble() === undefined ? (parts?.stores.unseen() ?? []) : []),
    ...(recordingTrouble === undefined ? [] : [`addresses cannot be recorded: ${recordingTrouble}`]),
    // Both families are without a node, so no connection can be served.
    ...(nodeTrouble?.[4] === undefined || nodeTrouble[6] === undefined
      ? []
      : [`no node takes connections: ${nodeTrouble[4].words}`]),
  ];
}

/** `host lb2 holds the Lease furiwake-system/furiwake`; `undefined`: no other host does. `leaseName`: with its namespace. */
export function otherHolderWords(holder: ReturnType<Lease['holder']>, leaseName: string): string | undefined {
  if (holder === undefined) return undefined;
  const host = holder.identity === '' ? 'another host' : `host ${hostOfIdentity(holder.identity)}`;
  if (holder.kind === 'namesake') return `another process with the identity of this host holds the Lease ${leaseName}`;
  if (holder.kind === 'former') return `the Lease ${leaseName} was deleted or emptied, and ${host} may still serve`;
  return holder.kind === 'other' ? `${host} holds the Lease ${leaseName}` : undefined;
}

function leaseTroubles(
  lease: Pick<Lease, 'holder' | 'trouble'>,
  leaseName: string,
  mayServeWithoutLease: boolean,
): readonly string[] {
  const trouble = lease.trouble();
  const holder = lease.holder();
  if (trouble !== undefined)
    return mayServeWithoutLease
      ? [trouble]
      : [trouble, 'this host has withdrawn its addresses: another host may hold the Lease'];
  const other = otherHolderWords(holder, leaseName);
  if (other !== undefined) return [`waiting: ${other}`];
  return [`the Lease ${leaseName} is not held`];
}

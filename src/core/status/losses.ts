import type { AssignedAddress } from '../addresses/assignment.ts';
import { backendsAnnotation } from '../model/contract.ts';
import type { ServicePort } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import type { ListenerReport } from '../traffic/report.ts';
import { isPodBackend, type Listener, listenerKey } from '../traffic/table.ts';
import { closedPorts } from './direct-trouble.ts';
import type { NodeLack } from './node-trouble.ts';
import { portList } from './sentences.ts';
import type { Failure, StatusInput } from './status-input.ts';

/** Connections to an address, or to some of its ports, that get to no server. */
export type Loss = { readonly address: AssignedAddress; readonly isWhole: boolean; readonly verdict: Verdict };

/** Why connections to an address reach no server. `isWhole`: on none of its ports. */
export function lossesOf(
  address: AssignedAddress,
  { nodeTrouble, dropping, hasEndpoints, listeners, reports }: StatusInput,
  absent: readonly Failure[],
): readonly Loss[] {
  const { ip, served } = address;
  const absence = absent.find((failure) => failure.ip === ip);
  if (absence !== undefined) return [{ address, isWhole: true, verdict: absence.verdict }];
  const listenerOf = ({ port, protocol }: ServicePort): Listener | undefined =>
    listeners.get(listenerKey(ip, port, protocol));
  const reportOf = ({ port, protocol }: ServicePort): ListenerReport | undefined =>
    reports.get(listenerKey(ip, port, protocol));
  const whereOf = (ports: AssignedAddress['served']): string =>
    `${ports.length === served.length ? '' : `port ${portList(ports.map(({ port }) => port))} of `}${ip.text}`;
  const verdicts: Verdict[] = [];
  const troubleOf = (port: ServicePort): string | undefined => reportOf(port)?.proxyTrouble;
  const down = served.filter((port) => troubleOf(port) !== undefined);
  const [first] = down;
  if (first !== undefined) {
    const message = `no connections to ${whereOf(down)}, because HAProxy does not serve: ${troubleOf(first)}`;
    verdicts.push({ reason: 'HaproxyDown', message });
  }
  const tableTroubleOf = (port: ServicePort): string | undefined => reportOf(port)?.tableTrouble;
  const unprogrammed = served.filter((port) => !down.includes(port) && tableTroubleOf(port) !== undefined);
  const [lacking] = unprogrammed;
  if (lacking !== undefined) {
    const message = `connections to ${whereOf(unprogrammed)} may be refused: another program has changed the nftables table, and it cannot be restored: ${tableTroubleOf(lacking)}`;
    verdicts.push({ reason: 'NftablesDown', message });
  }
  const draining = served.filter((port) => {
    const listener = listenerOf(port);
    return listener?.isDraining === true && listener.dataplane !== 'direct';
  });
  if (draining.length > 0) {
    const message = `no new connections to ${whereOf(draining)}, existing ones continue: an administrator drains the Service`;
    verdicts.push({ reason: 'Drained', message });
  }
  const closed = new Set([...down, ...unprogrammed, ...draining]);
  if (closed.size === served.length) return verdicts.map((verdict) => ({ address, isWhole: true, verdict }));
  const lack = nodeTrouble[ip.family];
  const nodeless = served.filter((port) => !closed.has(port) && isNodeless(listenerOf(port), lack));
  if (lack !== undefined && nodeless.length > 0) {
    const message = `no node takes connections for ${whereOf(nodeless)}: ${lack.words}`;
    verdicts.push({ reason: 'NoNodes', message });
  }
  const lost = new Set([...closed, ...nodeless]);
  const why = dropping === undefined || dropping === 'briefly' ? undefined : (dropping[ip.family] ?? '');
  const unopened = (why === undefined ? undefined : closedPorts(address, listeners, reports, false)) ?? [];
  const dropped = unopened.filter((port) => !nodeless.includes(port));
  if (dropped.length > 0) {
    const [alone] = dropped.flatMap((port) => reportOf(port)?.standInTrouble ?? []);
    const standIn = alone === undefined ? '' : `; HAProxy cannot stand in: ${alone}`;
    const message = `packets for ${whereOf(dropped)} are dropped, because direct has no node for them: ${why}${standIn}`;
    verdicts.push({ reason: 'NotForwarding', message });
    if (alone === undefined) verdicts.push({ reason: 'NotForwarding', message: remedyFor(dropped) });
  }
  // Without endpoints the checks cannot succeed.
  const failing =
    hasEndpoints === false ? [] : served.filter((port) => !lost.has(port) && reportOf(port)?.isFailing === true);
  if (failing.length > 0) {
    const message = `no server takes connections for ${whereOf(failing)}: each one fails its own check, or its node is drained or silent`;
    verdicts.push({ reason: 'NoServers', message });
  }
  const isWhole = lost.size + dropped.length + failing.length === served.length;
  return verdicts.map((verdict) => ({ address, isWhole, verdict }));
}

/** Pods do not depend on the nodes, and servers with checks of their own only if there is one: `isFailing` has their state. */
function isNodeless(listener: Listener | undefined, lack: NodeLack | undefined): boolean {
  if (lack === undefined) return false;
  if (listener === undefined) return true;
  return !isPodBackend(listener.backend) && !(lack.hasNodes && listener.options?.server.check !== undefined);
}

/** What else serves ports to which nothing stands in: they have no nodePort. */
function remedyFor(ports: AssignedAddress['served']): string {
  const isTcp = ports.every(({ protocol }) => protocol === 'TCP');
  const pods = isTcp ? `, or the annotation ${backendsAnnotation}: pods on a host with routes to Pods` : '';
  return `port ${portList(ports.map(({ port }) => port))} without direct needs a nodePort (spec.allocateLoadBalancerNodePorts: true)${pods}`;
}

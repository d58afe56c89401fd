import type { AssignedAddress } from '../addresses/assignment.ts';
import type { Ip } from '../ip/ip.ts';
import { backendsAnnotation } from '../model/contract.ts';
import type { ServicePort } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import { isPodBackend, type Listener, listenerKey, nodesBackend } from '../traffic/table.ts';
import { closedPorts } from './direct-trouble.ts';
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
  const draining = served.filter((port) => listenerOf(port)?.isDraining);
  const verdicts: Verdict[] = [];
  const whereOf = (ports: AssignedAddress['served']): string =>
    `${ports.length === served.length ? '' : `port ${portList(ports.map(({ port }) => port))} of `}${ip.text}`;
  if (draining.length > 0) {
    const message = `no new connections to ${whereOf(draining)}, existing ones continue: an administrator drains the Service`;
    verdicts.push({ reason: 'Drained', message });
  }
  if (draining.length === served.length) return verdicts.map((verdict) => ({ address, isWhole: true, verdict }));
  const troubleOf = ({ port, protocol }: ServicePort): string | undefined =>
    reports.get(listenerKey(ip, port, protocol))?.proxyTrouble;
  const down = served.filter((port) => !draining.includes(port) && troubleOf(port) !== undefined);
  const [first] = down;
  if (first !== undefined) {
    const message = `no connections to ${whereOf(down)}, because HAProxy does not serve: ${troubleOf(first)}`;
    verdicts.push({ reason: 'HaproxyDown', message });
    if (down.length + draining.length === served.length)
      return verdicts.map((verdict) => ({ address, isWhole: true, verdict }));
  }
  const hasPods = served.every((port) => isPodBackend(listenerOf(port)?.backend ?? nodesBackend(ip.family)));
  const trouble = hasPods ? undefined : nodeTrouble[ip.family];
  if (trouble !== undefined) {
    const message = `no node takes connections for ${ip.text}: ${trouble}`;
    return [{ address, isWhole: true, verdict: { reason: 'NoNodes', message } }];
  }
  const why = dropping === undefined || dropping === 'briefly' ? undefined : (dropping[ip.family] ?? '');
  const dropped = (why === undefined ? undefined : closedPorts(address, listeners, reports, false)) ?? [];
  if (dropped.length > 0) {
    const message = `packets for ${whereOf(dropped)} are dropped, because direct has no node for them: ${why}`;
    verdicts.push({ reason: 'NotForwarding', message }, { reason: 'NotForwarding', message: remedyFor(dropped) });
  }
  // Without endpoints the checks cannot succeed.
  const failing =
    hasEndpoints === false
      ? []
      : served.filter((port) => !draining.includes(port) && !down.includes(port) && isFailing(ip, port, reports));
  if (failing.length > 0) {
    const message = `no server takes connections for ${whereOf(failing)}: each one fails its own check, or its node is drained or silent`;
    verdicts.push({ reason: 'NoServers', message });
  }
  const isWhole = draining.length + down.length + dropped.length + failing.length === served.length;
  return verdicts.map((verdict) => ({ address, isWhole, verdict }));
}

/** What else serves ports to which nothing stands in: they have no nodePort. */
function remedyFor(ports: AssignedAddress['served']): string {
  const isTcp = ports.every(({ protocol }) => protocol === 'TCP');
  const pods = isTcp ? `, or the annotation ${backendsAnnotation}: pods on a host with routes to Pods` : '';
  return `port ${portList(ports.map(({ port }) => port))} without direct needs a nodePort (spec.allocateLoadBalancerNodePorts: true)${pods}`;
}

function isFailing(ip: Ip, { port, protocol }: ServicePort, reports: StatusInput['reports']): boolean {
  return reports.get(listenerKey(ip, port, protocol))?.isFailing === true;
}

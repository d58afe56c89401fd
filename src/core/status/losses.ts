import type { AssignedAddress } from '../addresses/assignment.ts';
import { backendsAnnotation } from '../model/contract.ts';
import type { ServicePort } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import type { ListenerReport } from '../traffic/report.ts';
import { isPodBackend, type Listener, listenerKey } from '../traffic/table.ts';
import { closedPorts } from './direct-trouble.ts';
import type { NodeLack } from './node-trouble.ts';
import { portWords } from './sentences.ts';
import type { Failure, StatusInput } from './status-input.ts';

/** Connections to an address, or to some of its ports, that get to no server. */
export type Loss = LossCause & { readonly address: AssignedAddress; readonly isWhole: boolean };

type LossCause = Pick<Verdict, 'reason'> & {
  /** The address, or which ports of it. */
  readonly where: string;
  readonly words: (where: string) => string;
};

/** What is true of several addresses is said once. */
export function verdictsOf(losses: readonly Loss[]): readonly Verdict[] {
  const groups = Map.groupBy(losses, ({ reason, words }) => `${reason} ${words('')}`);
  return [...groups.values()].flatMap(([first, ...others]) => {
    if (first === undefined) return [];
    const { reason, words } = first;
    return { reason, message: words([first, ...others].map(({ where }) => where).join(' and ')) };
  });
}

/** Why connections to an address reach no server. `isWhole`: on none of its ports. */
export function lossesOf(
  address: AssignedAddress,
  { nodeTrouble, dropping, hasEndpoints, listeners, reports }: StatusInput,
  absent: readonly Failure[],
): readonly Loss[] {
  const { ip, served } = address;
  const absence = absent.find((failure) => failure.ip === ip);
  if (absence !== undefined) {
    const { reason, message } = absence.verdict;
    return [{ address, isWhole: true, reason, where: ip.text, words: () => message }];
  }
  const listenerOf = ({ port, protocol }: ServicePort): Listener | undefined =>
    listeners.get(listenerKey(ip, port, protocol));
  const reportOf = ({ port, protocol }: ServicePort): ListenerReport | undefined =>
    reports.get(listenerKey(ip, port, protocol));
  const whereOf = (ports: AssignedAddress['served']): string =>
    `${ports.length === served.length ? '' : `${portWords(ports.map(({ port }) => port))} of `}${ip.text}`;
  const troubles: LossCause[] = [];
  const note = (reason: Verdict['reason'], ports: AssignedAddress['served'], words: LossCause['words']): void =>
    void troubles.push({ reason, where: whereOf(ports), words });
  const troubleOf = (port: ServicePort): string | undefined => reportOf(port)?.proxyTrouble;
  const down = served.filter((port) => troubleOf(port) !== undefined);
  const [first] = down;
  if (first !== undefined) {
    const cause = troubleOf(first);
    note('HaproxyDown', down, (where) => `no connections to ${where}, because HAProxy does not serve: ${cause}`);
  }
  const tableTroubleOf = (port: ServicePort): string | undefined => reportOf(port)?.tableTrouble;
  const unprogrammed = served.filter((port) => !down.includes(port) && tableTroubleOf(port) !== undefined);
  const [lacking] = unprogrammed;
  if (lacking !== undefined) {
    const cause = `another program has changed the nftables table, and it cannot be restored: ${tableTroubleOf(lacking)}`;
    note('NftablesDown', unprogrammed, (where) => `connections to ${where} may be refused: ${cause}`);
  }
  const draining = served.filter((port) => {
    const listener = listenerOf(port);
    return listener?.isDraining === true && listener.dataplane !== 'direct';
  });
  if (draining.length > 0) {
    const words = 'existing ones continue: an administrator drains the Service';
    note('Drained', draining, (where) => `no new connections to ${where}, ${words}`);
  }
  const closed = new Set([...down, ...unprogrammed, ...draining]);
  if (closed.size === served.length) return troubles.map((trouble) => ({ address, isWhole: true, ...trouble }));
  const lack = nodeTrouble[ip.family];
  const nodeless = served.filter((port) => !closed.has(port) && isNodeless(listenerOf(port), lack));
  if (lack !== undefined && nodeless.length > 0)
    note('NoNodes', nodeless, (where) => `no node takes connections for ${where}: ${lack.words}`);
  const lost = new Set([...closed, ...nodeless]);
  const why = dropping === undefined || dropping === 'briefly' ? undefined : (dropping[ip.family] ?? '');
  const unopened = (why === undefined ? undefined : closedPorts(address, listeners, reports, false)) ?? [];
  const dropped = unopened.filter((port) => !nodeless.includes(port));
  if (dropped.length > 0) {
    const [alone] = dropped.flatMap((port) => reportOf(port)?.standInTrouble ?? []);
    const standIn = alone === undefined ? '' : `; HAProxy cannot stand in: ${alone}`;
    const cause = `because direct has no node for them: ${why}${standIn}`;
    note('NotForwarding', dropped, (where) => `packets for ${where} are dropped, ${cause}`);
    if (alone === undefined) note('NotForwarding', dropped, () => remedyFor(dropped));
  }
  // Without endpoints the checks cannot succeed.
  const failing =
    hasEndpoints === false ? [] : served.filter((port) => !lost.has(port) && reportOf(port)?.isFailing === true);
  if (failing.length > 0) {
    const cause = 'each one fails its own check, or its node is drained or silent';
    note('NoServers', failing, (where) => `no server takes connections for ${where}: ${cause}`);
  }
  const isWhole = lost.size + dropped.length + failing.length === served.length;
  return troubles.map((trouble) => ({ address, isWhole, ...trouble }));
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
  const numbers = new Set(ports.map(({ port }) => port));
  return `${portWords(numbers)} without direct ${numbers.size === 1 ? 'needs a nodePort' : 'need nodePorts'} (spec.allocateLoadBalancerNodePorts: true)${pods}`;
}

import { commonOf, withoutOwn } from './addresses.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { Dataplane } from '../core/traffic/dataplane.ts';
import { type Listener, type Listeners, type TrafficTable, usesHaproxy } from '../core/traffic/table.ts';
import { inherit, needsProxy, withListeners, withoutStandIn, withUnconfirmed } from './listener-changes.ts';
import type { Addresses, Host } from '../ports/host.ts';
import type { Placement } from '../ports/placement.ts';
import type { Steering, SteeringTarget } from '../ports/steering.ts';
import type { HostNetwork } from '../ports/network.ts';
import type { Direct } from '../ports/direct.ts';
import type { Nat } from '../ports/nat.ts';
import type { Proxy } from '../ports/proxy.ts';
import type { HostState } from './host-state.ts';
import type { Outcomes } from './outcomes.ts';
import type { Proxied, ProxyAnswer } from './proxied.ts';
import type { Shortfall, Stage } from './stages.ts';

export type PassPorts = {
  readonly proxied: Proxied;
  readonly portOf: Proxy['portOf'];
  readonly steering: Steering;
  readonly direct: Pick<Direct, 'apply'>;
  readonly network: Pick<HostNetwork, 'addresses'>;
  readonly nat: Pick<Nat, 'apply'>;
  readonly placement: Placement;
  /** Announces those of the addresses that are not the host's own, while this host may attract packets. */
  readonly announce: (addresses: Addresses) => void;
  readonly host: Pick<Host, 'endConnections'>;
  /** The addresses that these listeners need on the host, without the host's own. */
  readonly addressesOf: (listeners: Listeners) => Addresses;
  /** The listeners of a table that have no server. */
  readonly serverlessOf: (table: TrafficTable) => ReadonlySet<ListenerKey>;
  /** Asked again before each step that attracts packets: a host may lose its right to serve in the middle of a pass. */
  readonly mayAttract: () => boolean;
};

/** Attempts or skips a stage; see {@link Stages}. */
export type Step = (
  stage: Stage,
  work: () => Promise<unknown>,
  concerned?: (shortfall: Shortfall) => readonly Listener[],
) => Promise<boolean>;

export type Pass = {
  readonly ports: PassPorts;
  readonly before: HostState;
  readonly target: TrafficTable;
  readonly changed: readonly Listener[];
  readonly gone: readonly Listener[];
  readonly outcomes: Outcomes;
  readonly step: Step;
  readonly signal: AbortSignal;
};

/** Makes HAProxy ready for the listeners that need it, before packets come. */
export async function prepareProxy({ ports, before, target, changed, outcomes, step, signal }: Pass): Promise<{
  readonly isUpserted: boolean;
  /** There is no record of an earlier process, and HAProxy has not answered: nothing may be steered yet. */
  readonly mustWait: boolean;
  readonly waiting: ReadonlySet<ListenerKey>;
  /** What HAProxy has then, without the listeners that it is about to remove. */
  readonly upserted: TrafficTable;
}> {
  const isFirst = before.programmed === undefined;
  let answer: ProxyAnswer = { refusals: new Map(), instead: new Map() };
  let isPending = false;
  const steered = before.programmed?.table;
  const isUpserted = await step(
    'proxy',
    async () => {
      const { inForce } = outcomes;
      answer = await ports.proxied.upsert(target, { inForce, steered }, signal);
    },
    ({ words }) => {
      isPending = words === undefined;
      if (isFirst) outcomes.setInForce(inherit(before.held, target.listeners));
      const delayed = changed.filter((each) => needsProxy(outcomes.inForce, each) && !ports.proxied.serves(each));
      outcomes.setInForce(withUnconfirmed(outcomes.inForce, delayed));
      return delayed;
    },
  );
  const { refusals } = answer;
  if (isUpserted) {
    outcomes.refuse(refusals);
    const refused = changed.filter(({ key }) => refusals.has(key));
    outcomes.setInForce(withUnconfirmed(outcomes.inForce, refused));
    for (const [key, listener] of answer.instead) {
      outcomes.instead.set(key, listener);
      outcomes.waiting.add(key);
    }
  }
  if (!isUpserted)
    for (const listener of changed.filter(outcomes.isLeft)) {
      const other = ports.proxied.servesInstead(listener);
      if (other === undefined) continue;
      outcomes.instead.set(listener.key, other);
      outcomes.waiting.add(listener.key);
    }
  for (const listener of changed.filter(outcomes.isLeft)) {
    const old = outcomes.inForce.get(listener.key);
    if (listener.dataplane === 'direct' && (!isUpserted || old === undefined || !usesHaproxy(old)))
      outcomes.instead.set(listener.key, withoutStandIn(listener, old));
  }
  const had = before.programmed?.proxied.listeners ?? outcomes.inForce;
  const upserted = withListeners(
    outcomes.table(),
    Array.from(outcomes.instead, ([key, listener]) => [key, outcomes.waiting.has(key) ? listener : had.get(key)]),
  );
  const mustWait = isFirst && isPending && before.held.size === 0;
  return { isUpserted, mustWait, waiting: outcomes.waiting, upserted };
}

/** The dataplanes beside HAProxy. */
export async function programOthers({ ports, before, changed, gone, outcomes, step, signal }: Pass): Promise<void> {
  const isOf = (name: Dataplane, listener: Listener): boolean =>
    [listener, before.held.get(listener.key)].some((each) => each?.dataplane === name || each?.standIn === name);
  for (const name of ['direct', 'nat'] as const)
    await step(
      name,
      async () => outcomes.refuse(await ports[name].apply(outcomes.table(), signal)),
      () => [...changed, ...gone].filter((listener) => isOf(name, listener)),
    );
}

/** Adds the addresses that the listeners of `table` need, and announces them. */
export async function attract(
  { ports, changed, outcomes, step, signal }: Pass,
  table: TrafficTable,
  wanted: Addresses,
): Promise<{ readonly addresses: Addresses; readonly attracted: () => Addresses }> {
  // An address that no listener of the target needs is removed, even if its listener cannot be removed. The address of a
  // refused listener is not added.
  const addresses = commonOf(ports.addressesOf(table.listeners), wanted);
  const attracted = (): Addresses => (ports.mayAttract() ? addresses : PersistentMap.empty());
  await step(
    'addresses',
    () => ports.placement.add(attracted(), signal),
    () => {
      const there = ports.addressesOf(outcomes.inForce);
      return changed.filter(({ address, isHostAddress }) => !isHostAddress && !there.has(address.text));
    },
  );
  ports.announce(addresses);
  return { addresses, attracted };
}

export function steeringTarget({ ports, outcomes }: Pass, wanted: Addresses): SteeringTarget {
  const { portOf, network, serverlessOf } = ports;
  const table = outcomes.table();
  const known = network.addresses();
  const vips = withoutOwn(wanted, known);
  return { listeners: table.listeners, serverless: serverlessOf(table), vips, own: known.own, portOf };
}

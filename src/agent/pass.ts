import { commonOf, withoutOwn } from './addresses.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { Dataplane } from '../core/traffic/dataplane.ts';
import { type Listener, type Listeners, type TrafficTable, usesHaproxy } from '../core/traffic/table.ts';
import {
  inherit,
  leftAs,
  listenersGone,
  listenersHandedOver,
  listenersToChange,
  needsProxy,
  uncertain,
  withListeners,
  withoutStandIn,
  withUnconfirmed,
} from './listener-changes.ts';
import type { Advertiser } from '../ports/advertiser.ts';
import type { Addresses, Host, Refusals } from '../ports/host.ts';
import type { Placement } from '../ports/placement.ts';
import type { Steering, SteeringTarget } from '../ports/steering.ts';
import type { HostNetwork } from '../ports/network.ts';
import type { Direct } from '../ports/direct.ts';
import type { Nat } from '../ports/nat.ts';
import type { Proxy } from '../ports/proxy.ts';
import type { PassStages, Stage } from './stages.ts';

export type PassPorts = {
  readonly proxy: Proxy;
  readonly steering: Steering;
  readonly direct: Pick<Direct, 'apply'>;
  readonly network: Pick<HostNetwork, 'addresses'>;
  readonly nat: Pick<Nat, 'apply'>;
  readonly placement: Placement;
  readonly advertiser: Advertiser;
  readonly host: Pick<Host, 'endConnections'>;
  /** The addresses that these listeners need on the host, without the host's own. */
  readonly addressesOf: (listeners: Listeners) => Addresses;
  /** The listeners of a table that have no server. */
  readonly serverlessOf: (table: TrafficTable) => ReadonlySet<ListenerKey>;
  /** Asked again before each step that attracts packets: a host may lose its right to serve in the middle of a pass. */
  readonly mayAttract: () => boolean;
};

/** The listeners of a host, as its tools have acknowledged them. */
export type HostState = {
  /** Every listener that may have connections on the host: from before it is programmed until after it is removed. */
  readonly held: Listeners;
  /** Those that are certainly in force, with the policy in force. */
  readonly inForce: Listeners;
  /**
   * The last target, with every refused listener as it was before; the table of HAProxy, which has more listeners until it
   * is pruned; the addresses, without those of listeners that cannot be removed. `undefined`: nothing is programmed yet.
   */
  readonly programmed:
    | { readonly table: TrafficTable; readonly proxied: TrafficTable; readonly addresses: Addresses }
    | undefined;
};

export const emptyHostState: HostState = {
  held: PersistentMap.empty(),
  inForce: PersistentMap.empty(),
  programmed: undefined,
};

export type PassResult = {
  readonly state: HostState;
  /** Listeners of the target that a tool refused on their own, each with its words. */
  readonly refused: ReadonlyMap<ListenerKey, string>;
  /** Of the refused ones, those that HAProxy serves with their settings of before until a reload. */
  readonly waiting: ReadonlySet<ListenerKey>;
  /** Listeners of the target that depend on a stage that is not done; its words, or `undefined` if it is only slow. */
  readonly blocked: ReadonlyMap<ListenerKey, string | undefined>;
};

type PassOptions = {
  readonly onHeld: (held: Listeners) => void;
  readonly stages: Pick<PassStages, 'attempt'>;
  readonly signal: AbortSignal;
};

/**
 * One pass over the host: programs `target`, except for the listeners that a tool refuses.
 *
 *   proxy.upsert ─► steering.apply ─► direct.apply, nat.apply ─► placement.add, advertise ─► proxy.prune ─► connections reset ─► placement.remove
 *   └─ new listeners are ready before packets come ──────────┘    └─ packets to removed listeners stop before removal ──┘
 *
 * A refused listener stays as it was and delays no other. A stage that is not done, because it failed as a whole, or is slow,
 * keeps the listeners that depend on it as they were; the others, and the removals that do not depend on it, still proceed.
 * A listener of `direct` depends on no HAProxy: it comes in force without its stand-in. Until nftables has been programmed
 * once, all that an earlier process programmed stays; until HAProxy has, its listeners stay. What waits for HAProxy has the source
 * ranges of now, and is drained as wanted.
 *
 * `onHeld` is called before anything is programmed, with the listeners that the host may hold from then on.
 */
export async function makePass(
  ports: PassPorts,
  before: HostState,
  target: TrafficTable,
  options: PassOptions,
): Promise<PassResult> {
  const handedOver = listenersHandedOver(before.held, target.listeners);
  if (handedOver.length === 0) return await makeOnePass(ports, before, target, options);
  // Removed for one Service before it is added for the other: no client that the old source ranges permit, and no
  // connection under way, reaches the new one.
  const without = withListeners(
    target,
    handedOver.map((key) => [key, undefined]),
  );
  const removal = await makeOnePass(ports, before, without, options, target.listeners);
  const stuck = handedOver.filter((key) => removal.state.held.has(key));
  const reduced = withListeners(
    target,
    stuck.map((key) => [key, removal.state.inForce.get(key)]),
  );
  const addition = await makeOnePass(ports, removal.state, reduced, options);
  const words = 'the listener of the Service that had this port is not removed yet';
  return { ...addition, blocked: new Map([...addition.blocked, ...stuck.map((key) => [key, words] as const)]) };
}

async function makeOnePass(
  ports: PassPorts,
  before: HostState,
  target: TrafficTable,
  { onHeld, stages, signal }: PassOptions,
  addressedBy: Listeners = target.listeners,
): Promise<PassResult> {
  const { proxy, steering, network, placement, advertiser, host } = ports;
  const changed = listenersToChange(before.inForce, target.listeners);
  const gone = listenersGone(before.held, target.listeners);
  const mayBeHeld = before.held.with(changed.map((listener) => [listener.key, listener]));
  onHeld(mayBeHeld);

  const refused = new Map<ListenerKey, string>();
  const blocked = new Map<ListenerKey, string | undefined>();
  /** Those of them that are in force nevertheless, without their stand-in. */
  const alone = new Map<ListenerKey, Listener>();
  const isLeft = ({ key }: Listener): boolean => !alone.has(key) && (refused.has(key) || blocked.has(key));
  const isOf = (name: Dataplane, listener: Listener): boolean =>
    [listener, before.held.get(listener.key)].some((each) => each?.dataplane === name || each?.standIn === name);
  /** Something was attempted and is not done, or only in part. */
  let isUncertain = false;
  /** A stage is under way, and has never failed. */
  let isPending = false;
  /** Whether the stage is done. If not, `concerned` are blocked. */
  const step = async (
    stage: Stage,
    work: () => Promise<unknown>,
    concerned: () => readonly Listener[] = () => [],
  ): Promise<boolean> => {
    const shortfall = await stages.attempt(stage, work, signal);
    if (shortfall === undefined) return true;
    isUncertain ||= shortfall.wasTried;
    isPending ||= shortfall.words === undefined;
    for (const listener of concerned())
      if (!isLeft(listener)) {
        alone.delete(listener.key);
        blocked.set(listener.key, shortfall.words);
      }
    return false;
  };
  const note = (refusals: Refusals<ListenerKey>): void => {
    for (const [key, words] of refusals) if (alone.delete(key) || !refused.has(key)) refused.set(key, words);
  };
  let was = before.inForce;
  /** The target with every refused or blocked listener as it is in force, or without it. */
  const effective = (): TrafficTable => {
    const left = [...refused.keys(), ...blocked.keys()].map(
      (key) => [key, leftAs(was, target.listeners, key)] as const,
    );
    return withListeners(target, [...left, ...alone]);
  };

  const isFirst = before.programmed === undefined;
  let refusals: Refusals<ListenerKey> = new Map();
  let waiting: ReadonlySet<ListenerKey> = new Set();
  const isUpserted = await step(
    'proxy',
    async () => {
      refusals = await proxy.upsert(target, signal);
      waiting = proxy.waiting();
    },
    () => {
      if (isFirst) was = inherit(before.held, target.listeners);
      const delayed = changed.filter((each) => needsProxy(was, each));
      was = withUnconfirmed(was, delayed);
      return delayed;
    },
  );
  if (isUpserted) {
    note(refusals);
    was = withUnconfirmed(
      was,
      changed.filter(({ key }) => refusals.has(key)),
    );
  }
  for (const listener of changed.filter(isLeft)) {
    const old = was.get(listener.key);
    if (listener.dataplane === 'direct' && (!isUpserted || old === undefined || !usesHaproxy(old)))
      alone.set(listener.key, withoutStandIn(listener, old));
  }
  const proxiedBefore = before.programmed?.proxied.listeners;
  const upserted = withListeners(
    effective(),
    Array.from(alone.keys(), (key) => [key, (proxiedBefore ?? was).get(key)]),
  );
  const wanted = ports.addressesOf(addressedBy);
  let table = effective();
  // Without its record, nothing is known of what an earlier process programmed: a HAProxy that is only slow will tell.
  const isUnknown = isFirst && !isUpserted && isPending && before.held.size === 0;
  const isSteered =
    !isUnknown &&
    (await step(
      'steering',
      async () => note(await steering.apply(steeringTarget(ports, table, wanted), signal)),
      () => [...changed, ...gone],
    ));
  if (isFirst && !isSteered) {
    // What an earlier process programmed may still serve: only unneeded addresses are removed.
    await step('removal', () => placement.remove(ports.mayAttract() ? wanted : PersistentMap.empty(), signal));
    return { state: { ...before, held: mayBeHeld }, refused, waiting, blocked };
  }
  for (const name of ['direct', 'nat'] as const) {
    table = effective();
    await step(
      name,
      async () => note(await ports[name].apply(table, signal)),
      () => [...changed, ...gone].filter((listener) => isOf(name, listener)),
    );
  }
  table = effective();
  // An address that no listener of the target needs is removed, even if its listener cannot be removed. The address of a
  // refused listener is not added.
  const addresses = commonOf(ports.addressesOf(table.listeners), wanted);
  const attracted = (): Addresses => (ports.mayAttract() ? addresses : PersistentMap.empty());
  await step(
    'addresses',
    () => placement.add(attracted(), signal),
    () => {
      const there = ports.addressesOf(was);
      return changed.filter(({ address, isHostAddress }) => !isHostAddress && !there.has(address.text));
    },
  );
  advertiser.advertise(withoutOwn(attracted(), network.addresses()));

  const mayPrune = isUpserted && (isSteered || gone.length === 0);
  const isPruned = mayPrune && (await step('pruning', () => proxy.prune(table, signal)));
  const ending = gone.filter((listener) => isSteered && (isPruned || !usesHaproxy(listener)));
  const isEnded = await step('connections', async () => {
    if (ending.length > 0) await host.endConnections(ending, signal);
  });
  await step('removal', () => placement.remove(attracted(), signal));
  const revisionLeft = (key: ListenerKey): Listener | undefined => {
    const old = leftAs(was, target.listeners, key);
    return !isUncertain || old === undefined ? old : uncertain(old);
  };
  const remnants = gone.filter(isLeft);
  const removed = new Set(isEnded ? ending.filter((each) => !isLeft(each)) : []);
  const remaining = gone.filter((listener) => !removed.has(listener));
  const unchanged = changed.filter(isLeft);
  // Both are made from the target, not from the earlier maps: maps that share their structure are compared in no time.
  const inForce = target.listeners
    .with([...remnants, ...unchanged].map(({ key }) => [key, revisionLeft(key)]))
    .with(alone);
  // A refused listener that was never in force is not held.
  const held = target.listeners
    .with(remaining.map((listener) => [listener.key, listener]))
    .with(unchanged.map(({ key }) => [key, was.get(key)]))
    .with(alone);
  const [refusedRemnant] = remnants.flatMap(({ key }) => refused.get(key) ?? []);
  await step('remnants', async () => {
    if (refusedRemnant !== undefined) throw new Error(refusedRemnant);
  });
  for (const { key } of remnants) {
    refused.delete(key);
    blocked.delete(key);
  }
  const unpruned = listenersGone(proxiedBefore ?? upserted.listeners, upserted.listeners).map(
    (each) => [each.key, each] as const,
  );
  const proxied = isPruned ? table : withListeners(upserted, unpruned);
  const state = { held, inForce, programmed: { table, proxied, addresses } };
  return { state, refused, waiting, blocked };
}

function steeringTarget(
  { proxy, network, serverlessOf }: PassPorts,
  table: TrafficTable,
  wanted: Addresses,
): SteeringTarget {
  const { listeners } = table;
  const known = network.addresses();
  const { own } = known;
  const vips = withoutOwn(wanted, known);
  return { listeners, serverless: serverlessOf(table), vips, own, portOf: (listener) => proxy.portOf(listener) };
}

import { PersistentMap } from '../core/persistent-map.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { Listener, TrafficTable } from '../core/traffic/table.ts';
import type { Revision } from '../core/revision.ts';
import type { Addresses, Advertiser, Host, Placement, Steering, SteeringTarget } from '../ports/host.ts';
import type { Proxy } from '../ports/proxy.ts';

export type PassPorts = {
  readonly proxy: Proxy;
  readonly steering: Steering;
  readonly placement: Placement;
  readonly advertiser: Advertiser;
  readonly host: Pick<Host, 'endConnections'>;
  /** The addresses that these listeners need on the host, without the host's own. */
  readonly addressesOf: (listeners: Listeners) => Addresses;
};

type Listeners = TrafficTable['listeners'];

/** What a host carries, as far as its tools have acknowledged it. */
export type HostState = {
  /** Every listener for which the host may carry connections: from before it is programmed until after it is gone. */
  readonly held: Listeners;
  /** Those that are in force for certain, as they are in force. */
  readonly inForce: Listeners;
  /** What was asked for last, with every refused listener as it was before. `undefined`: nothing yet. */
  readonly applied: TrafficTable | undefined;
  /** What HAProxy holds: more than `applied` after a pass that failed between the two steps. */
  readonly proxied: TrafficTable | undefined;
};

export const emptyHostState: HostState = {
  held: PersistentMap.empty(),
  inForce: PersistentMap.empty(),
  applied: undefined,
  proxied: undefined,
};

export type PassResult = {
  readonly state: HostState;
  /** Listeners of the target that are not in force as wanted, each with a tool's words. */
  readonly refusals: ReadonlyMap<ListenerKey, string>;
  /** The first step that failed as a whole: the pass must be repeated. */
  readonly failure: unknown;
};

/**
 * One pass over the host: makes it do what `target` says, as far as its tools take it.
 *
 *   proxy.upsert ─► steering.apply ─► placement.add, advertise ─► proxy.prune ─► connections reset ─► placement.remove
 *   └─ new listeners are ready before packets come ──────────┘    └─ what is gone gets no packets before it is removed ─┘
 *
 * A refused listener stays as it was and stops no other. A step that fails as a whole keeps the listeners that depend on
 * it as they were; the others, and the removals that do not depend on it, still proceed.
 *
 * `onHeld` is called before anything is programmed, with what the host may carry from then on.
 */
export async function makePass(
  ports: PassPorts,
  before: HostState,
  target: TrafficTable,
  onHeld: (held: Listeners) => void,
  signal: AbortSignal,
): Promise<PassResult> {
  const handedOver = listenersHandedOver(before.held, target.listeners);
  if (handedOver.length === 0) return await makeOnePass(ports, before, target, onHeld, signal);
  // Removed for one Service before it is added for the other: no client that the old source ranges permit, and no
  // connection under way, reaches the new one.
  const without = withListeners(
    target,
    handedOver.map((key) => [key, undefined]),
  );
  const removal = await makeOnePass(ports, before, without, onHeld, signal, target.listeners);
  const stuck = handedOver.filter((key) => removal.state.held.has(key));
  const reduced = withListeners(
    target,
    stuck.map((key) => [key, removal.state.inForce.get(key)]),
  );
  const addition = await makeOnePass(ports, removal.state, reduced, onHeld, signal);
  const refusals = new Map(addition.refusals);
  for (const key of stuck) refusals.set(key, 'the listener of the Service that had this port is not removed yet');
  return { ...addition, refusals, failure: removal.failure ?? addition.failure };
}

async function makeOnePass(
  ports: PassPorts,
  before: HostState,
  target: TrafficTable,
  onHeld: (held: Listeners) => void,
  signal: AbortSignal,
  addressedBy: Listeners = target.listeners,
): Promise<PassResult> {
  const { proxy, steering, placement, advertiser, host } = ports;
  const changed = listenersToChange(before.inForce, target.listeners);
  const gone = listenersGone(before.held, target.listeners);
  const mayBeHeld = before.held.with(changed.map((listener) => [listener.key, listener]));
  onHeld(mayBeHeld);

  const refusals = new Map<ListenerKey, string>();
  let failure: unknown;
  /** Runs a step; where it fails as a whole, `concerned` are refused with its words. False: it failed. */
  const step = async (work: () => Promise<void>, concerned: readonly Listener[]): Promise<boolean> => {
    try {
      await work();
      return true;
    } catch (error) {
      signal.throwIfAborted();
      failure ??= error;
      const words = wordsOf(error);
      for (const { key } of concerned) if (!refusals.has(key)) refusals.set(key, words);
      return false;
    }
  };
  const note = (refused: ReadonlyMap<ListenerKey, string>): void => {
    for (const [key, words] of refused) if (!refusals.has(key)) refusals.set(key, words);
  };
  /** The target with every refused listener as it is in force, or without it. */
  const effective = (): TrafficTable =>
    refusals.size === 0
      ? target
      : withListeners(
          target,
          Array.from(refusals.keys(), (key) => [key, before.inForce.get(key)]),
        );

  await step(
    async () => note(await proxy.upsert(target, signal)),
    changed.filter((each) => needsProxy(before.inForce, each)),
  );
  const wanted = ports.addressesOf(addressedBy);
  let table = effective();
  const upserted = table;
  await step(
    async () => note(await steering.apply(steeringTarget(ports, table, wanted), signal)),
    [...changed, ...gone],
  );
  const isSteered = failure === undefined || gone.every(({ key }) => !refusals.has(key));
  table = effective();
  // An address that no listener wants any more goes, even if its listener cannot be removed; one of a listener that was
  // refused does not come.
  const addresses = commonOf(ports.addressesOf(table.listeners), wanted);
  await step(async () => void (await placement.add(addresses, signal)), changed);
  advertiser.advertise(addresses);

  const isPruned =
    isSteered &&
    (await step(async () => {
      await proxy.prune(table, signal);
      if (gone.length > 0) await host.endConnections(gone, signal);
    }, []));
  await step(() => placement.remove(addresses, signal), []);
  const refusedRevision = (key: ListenerKey): Listener | undefined => {
    const old = before.inForce.get(key);
    return failure === undefined || old === undefined ? old : { ...old, revision: uncertain };
  };
  const goneRefused = gone.filter(({ key }) => refusals.has(key)); // a removal that nft refused
  const changedRefused = changed.filter(({ key }) => refusals.has(key));
  // Both grow from the target, not from what was before: maps that share their structure are compared in no time.
  const inForce = target.listeners.with(
    [...goneRefused, ...changedRefused].map(({ key }) => [key, refusedRevision(key)]),
  );
  // What was refused without ever having been in force is carried nowhere.
  const held = isPruned
    ? target.listeners
        .with(goneRefused.map((listener) => [listener.key, listener]))
        .with(changedRefused.map(({ key }) => [key, before.inForce.get(key)]))
    : mayBeHeld;
  for (const { key } of gone) if (!target.listeners.has(key)) refusals.delete(key);
  return { state: { held, inForce, applied: table, proxied: isPruned ? table : upserted }, refusals, failure };
}

/** A step failed as a whole: what was in force before most likely still is, but the next pass programs it again. */
const uncertain = 'uncertain' as Revision;

function withListeners(
  table: TrafficTable,
  changes: Iterable<readonly [ListenerKey, Listener | undefined]>,
): TrafficTable {
  const listeners = table.listeners.with(changes);
  return listeners === table.listeners ? table : { ...table, listeners };
}

function listenersToChange(inForce: Listeners, target: Listeners): readonly Listener[] {
  return PersistentMap.changedKeys(inForce, target).flatMap((key) => {
    const listener = target.get(key);
    return listener === undefined || listener.revision === inForce.get(key)?.revision ? [] : listener;
  });
}

function listenersGone(held: Listeners, target: Listeners): readonly Listener[] {
  return PersistentMap.changedKeys(held, target).flatMap((key) => {
    const listener = held.get(key);
    return listener === undefined || target.has(key) ? [] : listener;
  });
}

function listenersHandedOver(held: Listeners, target: Listeners): readonly ListenerKey[] {
  return PersistentMap.changedKeys(held, target).filter((key) => {
    const [old, listener] = [held.get(key), target.get(key)];
    return old !== undefined && listener !== undefined && old.service !== listener.service;
  });
}

/** Whether HAProxy must do anything before the listener can be in force. */
function needsProxy(inForce: Listeners, { key, service, backend, targetPort }: Listener): boolean {
  const old = inForce.get(key);
  return old?.service !== service || old.backend !== backend || old.targetPort !== targetPort;
}

function steeringTarget(
  { proxy, placement }: PassPorts,
  { listeners }: TrafficTable,
  wanted: Addresses,
): SteeringTarget {
  const { own } = placement.addresses();
  const vips = wanted.with(Array.from(own.keys(), (text) => [text, undefined]));
  return { listeners, vips, own, portOf: (listener) => proxy.portOf(listener) };
}

/** Those of `addresses` that `others` have, too. */
function commonOf(addresses: Addresses, others: Addresses): Addresses {
  return addresses.with(
    PersistentMap.changedKeys(addresses, others).flatMap((text) =>
      others.has(text) ? [] : [[text, undefined] as const],
    ),
  );
}

export function wordsOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).trim().replaceAll(/\s*\n\s*/g, '; ');
}

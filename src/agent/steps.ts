import { PersistentMap } from '../core/persistent-map.ts';
import { withListeners } from './listener-changes.ts';
import { commonOf, makeAddressIndex, noAddresses, unionOf, withoutOwn } from './addresses.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { Dataplane } from '../core/traffic/dataplane.ts';
import { type Listener, type Listeners, type TrafficTable, usesNat } from '../core/traffic/table.ts';
import { type HostState, inForceOf, type OtherDataplane, stateOf } from './host-state.ts';
import type { Addresses, Host } from '../ports/host.ts';
import type { Placement } from '../ports/placement.ts';
import type { Steering, SteeringTarget } from '../ports/steering.ts';
import type { HostNetwork } from '../ports/network.ts';
import type { Direct } from '../ports/direct.ts';
import type { Nat } from '../ports/nat.ts';
import type { Proxy } from '../ports/proxy.ts';
import type { Outcomes } from './outcomes.ts';
import type { Proxied } from './proxied.ts';
import type { Shortfall, Stage } from './stages.ts';

export type PassPorts = {
  readonly proxied: Proxied;
  readonly portOf: Proxy['portOf'];
  readonly steering: Steering;
  readonly direct: Pick<Direct, 'prepare' | 'apply'>;
  readonly network: Pick<HostNetwork, 'addresses'>;
  readonly nat: Pick<Nat, 'prepare' | 'apply'>;
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
  /** See `makePass`. */
  readonly isOvertaken: () => boolean;
  readonly signal: AbortSignal;
};

const uses = (name: Dataplane, listener: Listener | undefined): boolean =>
  listener?.dataplane === name || listener?.standIn === name;

/**
 * `nat` gets the listeners that move there before they are removed from their present dataplane, and still has those that leave it: a
 * connection that came between the two would be refused. New ones wait for `apply`. Resolves to the listeners that it was asked for.
 */
export async function prepareNat({ ports, before, changed, outcomes, step, signal }: Pass): Promise<Set<ListenerKey>> {
  const table = outcomes.table();
  const all = changed.flatMap(({ key }) => table.listeners.get(key) ?? []).filter(usesNat);
  const given = all.filter(({ key }) => stateOf(before, key)?.held !== undefined);
  const moving = given.filter(({ key }) => {
    const held = inForceOf(outcomes.stateOf(key));
    return held !== undefined && !usesNat(held);
  });
  if (before.programmed === undefined || moving.length === 0) return new Set();
  const present = before.programmed.table;
  const leaving = PersistentMap.changedKeys(present.listeners, table.listeners)
    .flatMap((key) => present.listeners.get(key) ?? [])
    .filter((had) => usesNat(had) && !usesNat(table.listeners.get(had.key) ?? had));
  const backends = leaving.map(
    ({ backend }) => [backend, table.backends.get(backend) ?? present.backends.get(backend)] as const,
  );
  const joined = withListeners({ ...table, backends: table.backends.with(backends) }, [
    ...all.filter((each) => !given.includes(each)).map(({ key }) => [key, undefined] as const),
    ...leaving.map((had) => [had.key, had] as const),
  ]);
  await step(
    'nat',
    async () => outcomes.refuse(await ports.nat.prepare(joined, signal)),
    () => moving,
  );
  return new Set(given.map(({ key }) => key));
}

/**
 * `direct` gets its listeners before the first steering of the process, see the port. If that fails or is slow, steering has them all the
 * same, and what they lack is found out when `direct` is programmed: the stand-in and the addresses stay.
 */
export async function prepareDirect({ ports, before, outcomes, step, signal }: Pass): Promise<void> {
  if (before.programmed !== undefined) return;
  await step('direct', async () => outcomes.refuse(await ports.direct.prepare(outcomes.table(), signal)));
}

/**
 * Programs the dataplanes beside HAProxy. `prepared`: the listeners that `nat` was asked for in this pass. It keeps them while it is not
 * certain (`isSteered`) which of the two has them.
 */
export async function programOthers(
  { ports, before, changed, gone, outcomes, step, signal }: Pass,
  { prepared, isSteered }: { readonly prepared: ReadonlySet<ListenerKey>; readonly isSteered: boolean },
): Promise<{
  readonly isDone: boolean;
  /** The dataplanes that may have the listener, whatever is in force. */
  readonly askedFor: (key: ListenerKey) => readonly OtherDataplane[];
}> {
  const applied = new Map<OtherDataplane, { readonly given: ReadonlySet<ListenerKey>; readonly isDone: boolean }>();
  /** An earlier process may have given `nat` what `direct` leaves to it. While `direct` is not done, that is not known as in force. */
  const isLeft = (known: TrafficTable, { key }: Listener): boolean => {
    const held = stateOf(before, key)?.held;
    return held !== undefined && usesNat(held) && !known.listeners.has(key);
  };
  for (const name of ['direct', 'nat'] as const) {
    const given = new Set<ListenerKey>();
    const isDone = await step(
      name,
      async () => {
        const known = outcomes.table();
        const uncertain =
          name === 'nat'
            ? changed.filter((listener) => isLeft(known, listener) || (!isSteered && prepared.has(listener.key)))
            : [];
        const table = withListeners(
          known,
          uncertain.filter(usesNat).map((listener) => [listener.key, listener]),
        );
        for (const { key } of changed) if (uses(name, table.listeners.get(key))) given.add(key);
        outcomes.refuse(await ports[name].apply(table, signal));
      },
      () =>
        [...changed, ...gone].filter((listener) => {
          const state = stateOf(before, listener.key);
          return uses(name, listener) || uses(name, state?.held) || state?.asked?.includes(name) === true;
        }),
    );
    applied.set(name, { given, isDone });
  }
  return {
    isDone: [...applied.values()].every((each) => each.isDone),
    askedFor: (key) => {
      const were = stateOf(before, key)?.asked ?? [];
      const wasAsked = (name: OtherDataplane): boolean => were.includes(name) || (name === 'nat' && prepared.has(key));
      return Array.from(applied).flatMap(([name, { given, isDone }]) =>
        given.has(key) || (!isDone && wasAsked(name)) ? name : [],
      );
    },
  };
}

/** Adds the addresses that the listeners of `table` need, and announces those that are there. */
export async function attract(
  { ports, before, changed, outcomes, step, isOvertaken, signal }: Pass,
  table: TrafficTable,
  wanted: Addresses,
): Promise<{
  readonly addresses: Addresses;
  /** Those that are on the host, as far as the kernel has acknowledged. */
  readonly placed: Addresses;
}> {
  // An address that no listener of the target needs is removed, even if its listener cannot be removed. The address of a
  // refused listener is not added.
  const addresses = commonOf(ports.addressesOf(table.listeners), wanted);
  const there = before.programmed?.placed ?? makeAddressIndex()(outcomes.inForce());
  // Not those of a withdrawn table: a host that may serve again since the pass began serves what the next pass programs.
  const added: Addresses = ports.mayAttract() && !isOvertaken() ? addresses : noAddresses;
  const isAdded = await step(
    'addresses',
    () => ports.placement.add(added, signal),
    () => changed.filter(({ address, isHostAddress }) => !isHostAddress && !there.has(address.text)),
  );
  const placed = isOvertaken() ? noAddresses : isAdded ? unionOf(there, added) : there;
  ports.announce(commonOf(addresses, placed));
  return { addresses, placed };
}

export function steeringTarget({ ports, outcomes }: Pass, wanted: Addresses): SteeringTarget {
  const { portOf, network, serverlessOf } = ports;
  const table = outcomes.table();
  const known = network.addresses();
  const vips = withoutOwn(wanted, known);
  return { listeners: table.listeners, serverless: serverlessOf(table), vips, own: known.own, portOf };
}

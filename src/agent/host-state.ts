import type { ListenerKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { type Listener, type Listeners, type TrafficTable, usesHaproxy } from '../core/traffic/table.ts';
import type { Addresses } from '../ports/host.ts';
import { commonOf } from './addresses.ts';

/** The listeners of a host, as its tools have acknowledged them. No key is in both maps. */
export type HostState = {
  /** In force as wanted. Shares its structure with the table of the last pass: maps that do are compared in no time. */
  readonly settled: Listeners;
  /** All others that are wanted, or may have connections. */
  readonly open: ReadonlyMap<ListenerKey, ListenerState>;
  /** By the last pass; `undefined`: nothing is programmed yet. */
  readonly programmed:
    | {
        /** The last target, with every refused listener as it was before. */
        readonly table: TrafficTable;
        /** The same of HAProxy, which has more listeners until it is pruned. */
        readonly proxied: TrafficTable;
        /** The wanted addresses, without those of listeners that cannot be removed. */
        readonly addresses: Addresses;
        /** Those that the kernel has accepted, until it is asked to remove them: by a pass, or because this host is withdrawn. */
        readonly placed: Addresses;
      }
    | undefined;
  /** The target of the pass under way. Until it ends, what it changes is certain neither as before nor as wanted. */
  readonly underWay?: Listeners;
};

/** A listener on a host: the wanted policy, the one in force, and why they differ. */
export type ListenerState = {
  /** By the last pass; `undefined`: it is to be removed. */
  readonly wanted: Listener | undefined;
  /** What may have connections on the host: set before it is programmed, until it is removed. `undefined`: nothing. */
  readonly held: Listener | undefined;
  /**
   * Whether the tools have acknowledged `held`. `perhaps`: an earlier process programmed it, or a step failed that may have
   * changed it in part.
   */
  readonly inForce: 'yes' | 'perhaps' | 'no';
  /** HAProxy has not acknowledged `held`. A listener of `direct` is in force nevertheless, without its stand-in. */
  readonly lacksProxy: boolean;
  /** `undefined`: a pass is to program it. */
  readonly gap: Gap | undefined;
  /** Dataplanes other than HAProxy and that of `held` that were asked to take the listener, and may have it even if they failed. */
  readonly asked?: readonly OtherDataplane[];
};

export type OtherDataplane = 'direct' | 'nat';

/** Why a listener is not in force as wanted. */
export type Gap = {
  /**
   * `refused`: a tool does not accept it. `deferred`: HAProxy serves it with another profile until a reload. `blocked`: it depends on a
   * stage that is not done. `unchanged`, `down`: the same, because HAProxy took no change, but may take connections; or not even those.
   */
  readonly is: 'refused' | 'deferred' | 'blocked' | 'unchanged' | 'down';
  /** Of the tool; `undefined`: it has not answered yet. */
  readonly words: string | undefined;
};

export const emptyHostState: HostState = { settled: PersistentMap.empty(), open: new Map(), programmed: undefined };

/** What an earlier process may have programmed. */
export function heldFromBefore(listeners: Listeners): HostState {
  const open = Array.from(listeners, ([key, held]) => [key, unprogrammed(undefined, held)] as const);
  return { ...emptyHostState, open: new Map(open) };
}

/** The addresses are removed beside the passes when this host is withdrawn. */
export function withoutPlaced(state: HostState): HostState {
  const { programmed } = state;
  return programmed === undefined ? state : { ...state, programmed: { ...programmed, placed: PersistentMap.empty() } };
}

/** Whether an address was still missing after the last pass: the kernel had not answered, or this host was withdrawn meanwhile. */
export function lacksAddresses({ programmed }: HostState): boolean {
  return programmed !== undefined && commonOf(programmed.addresses, programmed.placed) !== programmed.addresses;
}

/** Whether the address of the listener is on the host, as far as the kernel has acknowledged. */
export function isPlaced({ programmed }: HostState, { address, isHostAddress }: Listener): boolean {
  return isHostAddress || programmed === undefined || programmed.placed.has(address.text);
}

/** Of a listener that no pass has programmed yet. */
export function unprogrammed(wanted: Listener | undefined, held: Listener): ListenerState {
  return { wanted, held, inForce: 'no', lacksProxy: usesHaproxy(held), gap: undefined };
}

export function stateOf({ settled, open }: HostState, key: ListenerKey): ListenerState | undefined {
  const listener = settled.get(key);
  return listener === undefined
    ? open.get(key)
    : { wanted: listener, held: listener, inForce: 'yes', lacksProxy: false, gap: undefined };
}

/** The listener with the policy that is in force, as far as is known. */
export function inForceOf(state: ListenerState | undefined): Listener | undefined {
  return state?.inForce === 'no' ? undefined : state?.held;
}

/** Whether it is certain that `held` is in force, with or without its stand-in. */
export function isCertain({ held, inForce, lacksProxy }: ListenerState): boolean {
  return inForce === 'yes' && (!lacksProxy || held?.dataplane === 'direct');
}

/** Whether the pass under way changes or removes the listener. */
export function isUnderWay({ underWay }: HostState, state: ListenerState | undefined): boolean {
  if (underWay === undefined || state?.held === undefined) return false;
  return underWay.get(state.held.key)?.revision !== state.held.revision;
}

/** Those of `target` that are not in force as there. */
export function listenersToChange({ settled }: HostState, target: Listeners): readonly Listener[] {
  return PersistentMap.changedKeys(settled, target).flatMap((key) => {
    const listener = target.get(key);
    return listener === undefined || listener.revision === settled.get(key)?.revision ? [] : listener;
  });
}

/** Those that may have connections, and that `target` no longer has. */
export function listenersGone({ settled, open }: HostState, target: Listeners): readonly Listener[] {
  const gone = (listeners: readonly (Listener | undefined)[]): readonly Listener[] =>
    listeners.filter((each) => each !== undefined).filter(({ key }) => !target.has(key));
  return [
    ...gone(PersistentMap.changedKeys(settled, target).map((key) => settled.get(key))),
    ...gone(Array.from(open.values(), ({ held }) => held)),
  ];
}

/** Those that another Service gets. */
export function listenersHandedOver(host: HostState, target: Listeners): readonly ListenerKey[] {
  return PersistentMap.changedKeys(host.settled, target).filter((key) => {
    const [held, wanted] = [stateOf(host, key)?.held, target.get(key)];
    return held !== undefined && wanted !== undefined && !isOfOneService(held, wanted);
  });
}

/**
 * A Service that is created again under the same name is another one. A file of before version 4 has no UID, which is read as the
 * name of the Service.
 */
export function isOfOneService(a: Listener, b: Listener): boolean {
  return a.uid === b.uid || (a.service === b.service && [a, b].some(({ uid, service }) => String(uid) === service));
}

import type { ListenerKey, ServiceUid } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { emptyTable, type Listener, stackDataplane, type TrafficTable } from '../../core/traffic/table.ts';
import type { Client } from '../../ports/host.ts';

/**
 * The part of the stack, where HAProxy or `nat` is the stand-in, in a listener that the table has.
 *
 *            a node opens              its flows are known              no node is open, or direct is no longer wanted
 *   (none) ───────────────► entering ───────────────────────► direct ────────────────────────────────────► leaving
 *                               ▲                                                                             │
 *                               └──────────────────────────── a node opens ───────────────────────────────────┘
 *
 * `entering`: new connections go to nodes, and are pinned at once; a packet without a pin is the stand-in's, and so is
 * everything of UDP and SCTP without one, where no packet says that it opens a flow. `direct`: the packets of the clients that
 * the stand-in held at the change are its own, all others go to nodes. `leaving`: new flows are the stand-in's, and so is
 * every packet without a pin.
 *
 * A listener leaves for as long as it exists: the connections that it has at nodes may last as long.
 *
 * While a listener has no stand-in (HAProxy cannot be changed), nothing but nodes has flows of it: it is `direct` as soon as a
 * node opens, and stays so when it gets one. While it has no server at all, it leaves: the stack refuses its new flows.
 */
type StandInState = {
  readonly uid: ServiceUid;
  readonly isAlone: boolean;
  readonly phase: 'entering' | 'direct' | 'leaving';
  /** In phase `direct`, and as they were then in `leaving`. */
  readonly clients: readonly Client[];
};

/** The listeners whose packets the stand-in and nodes share. */
export type SharedListeners = {
  /** Which flows are the stand-in's is not known: those without a pin are. */
  readonly unsorted: PersistentMap<ListenerKey, true>;
  /** The clients of the flows that the stand-in holds, of the listeners that have some. */
  readonly held: PersistentMap<ListenerKey, readonly Client[]>;
};

export const nothingShared: SharedListeners = { unsorted: PersistentMap.empty(), held: PersistentMap.empty() };

/** The listeners that a node serves. */
type OpenListeners = PersistentMap<ListenerKey, object>;

export type StandIns = {
  /** Nodes may have flows of these listeners: an earlier process sent them there. */
  resume(listeners: Iterable<Listener>): void;
  /** Follows the listeners, which of them have nodes (`open`), and which have no server. */
  follow(listeners: TrafficTable['listeners'], open: OpenListeners, serverless: ReadonlySet<ListenerKey>): void;
  /** Whether nodes have, or may have, flows of the listener, of the same Service. */
  has(listener: Pick<Listener, 'key' | 'uid'>): boolean;
  /** The listeners whose flows are not known yet. */
  entering(): readonly ListenerKey[];
  /** The listeners of which the stand-in still holds flows. */
  holding(): readonly ListenerKey[];
  /** The flows of these listeners, as read after `direct` had them first. */
  sort(listeners: readonly ListenerKey[], clients: ReadonlyMap<ListenerKey, readonly Client[]>): void;
  /** The same object while nothing changed. */
  shared(): SharedListeners;
};

export function makeStandIns(): StandIns {
  const states = new Map<ListenerKey, StandInState>();
  const entering = new Set<ListenerKey>();
  let shared = nothingShared;
  let before = {
    listeners: emptyTable.listeners,
    open: PersistentMap.empty<ListenerKey, object>(),
    serverless: new Set<ListenerKey>() as ReadonlySet<ListenerKey>,
  };
  const set = (key: ListenerKey, state: StandInState | undefined): void => {
    if (state === undefined) states.delete(key);
    else states.set(key, state);
    if (state?.phase === 'entering') entering.add(key);
    else entering.delete(key);
    const isUnsorted = state !== undefined && state.phase !== 'direct' && !state.isAlone;
    const clients = state?.clients ?? [];
    const unsorted = shared.unsorted.with([[key, isUnsorted || undefined]]);
    const held = shared.held.with([[key, clients.length > 0 ? clients : undefined]]);
    if (unsorted !== shared.unsorted || held !== shared.held) shared = { unsorted, held };
  };

  return {
    resume: (listeners) => {
      for (const { key, uid } of listeners) set(key, { uid, isAlone: false, phase: 'leaving', clients: [] });
    },
    follow: (listeners, open, serverless) => {
      const changed = new Set([
        ...PersistentMap.changedKeys(before.listeners, listeners),
        ...PersistentMap.changedKeys(before.open, open),
        ...(serverless === before.serverless ? [] : [...before.serverless, ...serverless]),
      ]);
      before = { listeners, open, serverless };
      for (const key of changed) {
        const listener = listeners.get(key);
        if (states.has(key) && listener?.uid !== states.get(key)?.uid) set(key, undefined);
        if (listener === undefined) continue;
        const { uid } = listener;
        const isRefused = serverless.has(key) && stackDataplane(listener) === undefined;
        const isAlone = !isRefused && stackDataplane(listener) === undefined;
        const state = states.get(key);
        const phase = nextPhase(state?.phase ?? (isRefused ? 'leaving' : undefined), open.has(key), isAlone);
        if (phase === state?.phase && isAlone === (state?.isAlone ?? isAlone)) continue;
        const clients = phase !== 'entering' && state !== undefined ? state.clients : [];
        set(key, phase && { uid, isAlone, phase, clients });
      }
    },
    has: ({ key, uid }) => states.get(key)?.uid === uid,
    entering: () => [...entering],
    holding: () => [...shared.held.keys()].filter((key) => states.get(key)?.phase === 'direct'),
    sort: (keys, clients) => {
      for (const key of keys) {
        const state = states.get(key);
        if (state === undefined || state.phase === 'leaving') continue;
        const now = clients.get(key) ?? [];
        if (state.phase === 'direct' && isSame(state.clients, now)) continue;
        set(key, { ...state, phase: 'direct', clients: now });
      }
    },
    shared: () => shared,
  };
}

function nextPhase(
  phase: StandInState['phase'] | undefined,
  isOpen: boolean,
  isAlone: boolean,
): StandInState['phase'] | undefined {
  if (!isOpen) return phase === undefined ? undefined : 'leaving';
  if (isAlone) return 'direct';
  return phase === undefined || phase === 'leaving' ? 'entering' : phase;
}

function isSame(a: readonly Client[], b: readonly Client[]): boolean {
  const texts = new Set(a.map(textOf));
  return texts.size === b.length && b.every((client) => texts.has(textOf(client)));
}

function textOf({ address, port }: Client): string {
  return `${address.text} ${port}`;
}

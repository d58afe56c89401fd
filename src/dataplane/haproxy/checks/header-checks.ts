import { makeSubscribers } from '../../../async/subscribers.ts';
import type { ListenerKey } from '../../../core/model/names.ts';
import { isSameSet, PersistentMap } from '../../../core/persistent-map.ts';
import { emptyTable, type Listener, type Listeners } from '../../../core/traffic/table.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Proxy } from '../../../ports/proxy.ts';
import type { Desired } from '../config/desired.ts';
import { ownerOf } from '../config/pools.ts';
import { type Dial, type HeaderEnd, proxyHeader } from './proxy-header.ts';

/**
 * Finds listeners whose servers do not expect the header of the PROXY protocol that HAProxy sends. HAProxy cannot see it: to it, the
 * server ends the connection, or answers.
 *
 *   with a header      without one      verdict
 *   open               -                expects it, or keeps a connection in spite of it
 *   refused at once    open             does not expect it
 *   refused at once    refused at once  not known: it refuses every connection
 */
export type HeaderChecks = Pick<Proxy, 'refusingHeaders'> & {
  subscribe(listener: () => void): () => void;
  /** Checks new listeners and, now and then, the others, until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

const roundMs = 5_000;
const mostPerRound = 10;
/** Until the next check of a listener: its Pods may have been replaced. */
const againMs = { refused: 60_000, other: 600_000 };

type Checked = { readonly revision: string; readonly dueMs: number; readonly isRefused: boolean };

export function makeHeaderChecks(deps: {
  readonly dial: Dial;
  readonly desired: () => Desired | undefined;
  readonly clock: Pick<Clock, 'monotonic' | 'sleep'>;
}): HeaderChecks {
  const { dial, desired, clock } = deps;
  const subscribers = makeSubscribers();
  let checked: ReadonlyMap<ListenerKey, Checked> = new Map();
  let refusing: ReadonlySet<ListenerKey> = new Set();

  /** `undefined`: not known. */
  const isRefused = async (
    listener: Listener,
    server: HeaderEnd,
    signal: AbortSignal,
  ): Promise<boolean | undefined> => {
    const version = listener.options?.server.proxyProtocol ?? 0;
    if (version === 0) return false;
    const result = await dial(server, (local) => proxyHeader(version, local, listener), signal);
    if (result !== 'refused') return result === 'open' ? false : undefined;
    return (await dial(server, () => undefined, signal)) === 'open' ? true : undefined;
  };

  const check = async (listener: Listener, { spares }: Desired, signal: AbortSignal): Promise<Checked> => {
    const servers = spares.servers.get(spares.names.get(ownerOf(listener)) ?? 'spare4-0') ?? [];
    const server = servers.find(({ admin, port }) => admin === 'ready' && port > 0);
    const found = server && (await isRefused(listener, server, signal));
    const is = found ?? checked.get(listener.key)?.isRefused ?? false;
    const waitMs = found === undefined || is ? againMs.refused : againMs.other;
    return { revision: listener.revision, dueMs: clock.monotonic() + waitMs, isRefused: is };
  };

  const listenersOf = makeHeaderIndex();

  const round = async (now: Desired, signal: AbortSignal): Promise<void> => {
    const listeners = [...listenersOf(now.table.listeners).values()];
    if (listeners.length + checked.size === 0) return;
    const isDue = ({ key, revision }: Listener): boolean => {
      const known = checked.get(key);
      return known === undefined || known.revision !== revision || known.dueMs <= clock.monotonic();
    };
    const due = listeners.filter(isDue).slice(0, mostPerRound);
    const results = await Promise.all(
      due.map(async (listener) => [listener.key, await check(listener, now, signal)] as const),
    );
    const all = new Map([...checked, ...results]);
    checked = new Map(listeners.flatMap(({ key }) => (all.has(key) ? [[key, all.get(key)!] as const] : [])));
    const next = new Set(Array.from(checked).flatMap(([key, each]) => (each.isRefused ? key : [])));
    if (isSameSet(next, refusing)) return;
    refusing = next;
    subscribers.tell();
  };

  return {
    refusingHeaders: () => refusing,
    subscribe: subscribers.subscribe,
    run: async (signal) => {
      for (;;) {
        await clock.sleep(roundMs, signal);
        const now = desired();
        if (now !== undefined) await round(now, signal);
      }
    },
  };
}

/** The listeners whose servers get the header: reads only those that changed since the last call. */
function makeHeaderIndex(): (listeners: Listeners) => ReadonlyMap<ListenerKey, Listener> {
  const found = new Map<ListenerKey, Listener>();
  let before = emptyTable.listeners;
  return (listeners) => {
    for (const key of PersistentMap.changedKeys(before, listeners)) {
      const listener = listeners.get(key);
      if (listener !== undefined && (listener.options?.server.proxyProtocol ?? 0) > 0) found.set(key, listener);
      else found.delete(key);
    }
    before = listeners;
    return found;
  };
}

import type { Ip } from '../../core/ip/ip.ts';
import type { BackendId, ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Listener, Listeners } from '../../core/traffic/table.ts';
import { makeLastingIds } from '../nftables/ids.ts';

/** A node that keeps the clients which it has: its number for one holder of a listener. */
export type Keeper = { readonly address: Ip; readonly number: number };
export type Keepers = PersistentMap<ListenerKey, readonly Keeper[]>;

/** The addresses of the nodes of a backend, and of those that keep the clients that they have. */
export type Members = { readonly all: readonly Ip[]; readonly keeping: readonly Ip[] };

/**
 * The keepers of each listener with affinity, from the difference to the last call. An address keeps its number as long as the
 * listener belongs to the Service; two nodes have the same one while a node that got another name is still there under the former.
 */
export function makeKeepers(): (
  listeners: Listeners,
  affine: ReadonlySet<ListenerKey>,
  members: ReadonlyMap<BackendId, Members>,
) => Keepers {
  const ids = makeLastingIds();
  /** Of each listener with affinity: the names that have numbers. */
  const named = new Map<ListenerKey, readonly string[]>();
  const texts = new Map<BackendId, string>();
  let before: Listeners = PersistentMap.empty();
  let keepers: Keepers = PersistentMap.empty();

  const without = (key: ListenerKey): void => {
    for (const name of named.get(key) ?? []) ids.release(name);
    named.delete(key);
  };
  const keepersOf = ({ key, uid }: Listener, { all, keeping }: Members): readonly Keeper[] => {
    const nameOf = ({ text }: Ip): string => `${key} ${uid} ${text}`;
    const names = new Set(all.map(nameOf));
    for (const name of named.get(key) ?? []) if (!names.has(name)) ids.release(name);
    named.set(key, [...names]);
    const once = new Map(keeping.map((address) => [nameOf(address), address]));
    return Array.from(once, ([name, address]) => ({ address, number: ids.of(name) }));
  };

  return (listeners, affine, members) => {
    const moved = changedBackends(texts, members);
    const concerned = new Set(PersistentMap.changedKeys(before, listeners));
    if (moved.size > 0)
      for (const key of affine) {
        const backend = listeners.get(key)?.backend;
        if (backend !== undefined && moved.has(backend)) concerned.add(key);
      }
    before = listeners;
    keepers = keepers.with(
      Array.from(concerned, (key): [ListenerKey, readonly Keeper[] | undefined] => {
        const listener = affine.has(key) ? listeners.get(key) : undefined;
        if (listener === undefined) {
          without(key);
          return [key, undefined];
        }
        const [old, now] = [keepers.get(key), keepersOf(listener, members.get(listener.backend) ?? none)];
        return [key, old !== undefined && isSame(old, now) ? old : now];
      }),
    );
    return keepers;
  };
}

const none: Members = { all: [], keeping: [] };

/** Compares with `texts`, and brings that up to date. */
function changedBackends(
  texts: Map<BackendId, string>,
  members: ReadonlyMap<BackendId, Members>,
): ReadonlySet<BackendId> {
  const changed = new Set<BackendId>();
  for (const id of texts.keys()) if (!members.has(id)) changed.add(id);
  for (const id of changed) texts.delete(id);
  for (const [id, { all, keeping }] of members) {
    const text = [all, keeping].map((each) => each.map((address) => address.text).join(',')).join(';');
    if (texts.get(id) === text) continue;
    texts.set(id, text);
    changed.add(id);
  }
  return changed;
}

function isSame(a: readonly Keeper[], b: readonly Keeper[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ address, number }, index) => b[index]?.number === number && b[index].address.text === address.text)
  );
}

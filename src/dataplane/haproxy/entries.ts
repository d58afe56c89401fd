import { createHash } from 'node:crypto';
import type { ListenerKey, ServiceKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { type Listener, nodesBackend } from '../../core/traffic/table.ts';

/** An entry of the map: `VIP|port` → `backend|target port|cap|Service`. One value, so that one `set map` changes all. */
export type Entry = { readonly key: string; readonly value: string };

/** One that did not change keeps its identity. */
export type Entries = PersistentMap<ListenerKey, Entry>;

/** `VIP|port`; `|` and not `:`, so that IPv6 is unambiguous. */
export function entryKey({ address, port }: Pick<Listener, 'address' | 'port'>): string {
  return `${address.text}|${port}`;
}

/** Tells Services apart without their names: no text that a user wrote reaches HAProxy. */
function serviceId(service: ServiceKey): string {
  return createHash('sha256').update(service).digest('hex').slice(0, 16);
}

/** The listener as HAProxy gets it, or why it cannot serve it: another protocol, another backend, a port out of range. */
export function entryOf(listener: Listener, cap: number): Entry | { readonly refusal: string } {
  const { address, backend, port, protocol, service, targetPort } = listener;
  if (protocol !== 'TCP') return { refusal: `HAProxy cannot serve ${protocol}` };
  if (!isPort(port) || !isPort(targetPort)) return { refusal: `invalid port ${isPort(port) ? targetPort : port}` };
  if (backend !== nodesBackend(address.family)) return { refusal: 'HAProxy has no such backend' };
  return { key: entryKey(listener), value: `${backend}|${targetPort}|${cap}|${serviceId(service)}` };
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port < 65_536;
}

/** One line of the map file. */
export function entryLine({ key, value }: Entry): string {
  return `${key} ${value}\n`;
}

/** The map file. */
export function mapText(entries: Entries): string {
  return Array.from(entries, ([, entry]) => entryLine(entry)).join('');
}

/** What must be done to one entry. The map takes a second entry of a key without complaint: `add` is for new ones only. */
export type EntryChange =
  | { readonly do: 'add' | 'set'; readonly key: string; readonly value: string }
  | { readonly do: 'del'; readonly key: string };

/**
 * The entries that a worker holds. Invariant: what {@link HeldEntries.upserts} and {@link HeldEntries.prune} return has
 * been done by the time of the next call; a caller that fails to do it must read the worker anew.
 */
export type HeldEntries = {
  readonly values: ReadonlyMap<string, string>;
  /** The changes that add and set all that `wanted` has. */
  upserts(wanted: Entries): readonly EntryChange[];
  /** All changes, so that `wanted` are held and nothing else. */
  prune(wanted: Entries): readonly EntryChange[];
};

export function makeHeldEntries(values: Map<string, string>): HeldEntries {
  /** All of these are held. */
  let reached: Entries = PersistentMap.empty();
  /** These are held, and not among `reached`. */
  const leaving = new Set(values.keys());

  const upserts: HeldEntries['upserts'] = (wanted) => {
    const changes: EntryChange[] = [];
    for (const listener of PersistentMap.changedKeys(reached, wanted)) {
      const [old, entry] = [reached.get(listener), wanted.get(listener)];
      if (entry === undefined) {
        if (old !== undefined) leaving.add(old.key);
        continue;
      }
      const { key, value } = entry;
      leaving.delete(key);
      const present = values.get(key);
      if (present === value) continue;
      changes.push({ do: present === undefined ? 'add' : 'set', key, value });
      values.set(key, value);
    }
    reached = wanted;
    return changes;
  };

  return {
    values,
    upserts,
    prune: (wanted) => {
      const changes = upserts(wanted); // of a worker that was read just now all entries would be leaving
      const gone = [...leaving];
      for (const key of gone) values.delete(key);
      leaving.clear();
      return [...changes, ...gone.map((key) => ({ do: 'del', key }) as const)];
    },
  };
}

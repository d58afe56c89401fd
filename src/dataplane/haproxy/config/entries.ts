import { createHash } from 'node:crypto';
import type { BackendId, ListenerKey, ServiceKey } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import { isPodBackend, type Listener, nodesBackend } from '../../../core/traffic/table.ts';
import { hasOwnBackend, noLimits } from '../../../core/traffic/options.ts';
import { ownerOf } from './pools.ts';

/**
 * An entry of the map: `VIP|port` → `backend|target port|cap|Service`, for a Service with limits `…|rate`, and with limits per client
 * `…|rate|client cap|client rate`. A single value, so that one `set map` changes everything.
 */
export type MapEntry = { readonly key: string; readonly value: string };

/** An unchanged entry keeps its identity. */
export type Entries = PersistentMap<ListenerKey, MapEntry>;

/** `VIP|port`; `|` and not `:`, so that IPv6 is unambiguous. */
export function entryKey({ address, port }: Pick<Listener, 'address' | 'port'>): string {
  return [address.text, port].join('|'); // kept: docs/adr/0021
}

/** Distinguishes Services without their names, so that no user input reaches HAProxy. */
function serviceId(service: ServiceKey): string {
  return createHash('sha256').update(service).digest('hex').slice(0, 16);
}

/** More than HAProxy can count. */
const unlimited = 2 ** 32;

/**
 * The entry of a listener, or why HAProxy cannot serve it: another protocol, a port out of range. `names`: HAProxy's names of
 * backends other than those of all nodes.
 */
export function entryOf(
  listener: Listener,
  names: ReadonlyMap<BackendId, string>,
): MapEntry | { readonly refusal: string } {
  const { address, options, port, protocol, service, targetPort } = listener;
  if (protocol !== 'TCP') return { refusal: `HAProxy cannot serve ${protocol}` };
  if (!isPort(port) || !hasTarget(listener)) return { refusal: `invalid port ${isPort(port) ? targetPort : port}` };
  const owner = ownerOf(listener);
  const name = owner === nodesBackend(address.family) ? owner : names.get(owner);
  if (name === undefined) return { refusal: 'HAProxy has no such backend' };
  const { connections, rate, clientConnections, clientRate } = options?.limits ?? noLimits;
  const most = connections || unlimited;
  const limits =
    clientConnections || clientRate ? [rate, clientConnections, clientRate] : connections || rate ? [rate] : [];
  // Joined to one text: a template would keep its parts, and the whole digest behind the Service's.
  // Servers with options have the port themselves, so that the PROXY protocol shows the one that the client connected to.
  const destination = options !== undefined && hasOwnBackend(options) ? port : targetPort;
  return {
    key: entryKey(listener),
    value: [name, destination, most, serviceId(service), ...limits.map((limit) => limit || unlimited)].join('|'),
  };
}

/** HAProxy's name of the backend. */
export function backendOfEntry({ value }: Pick<MapEntry, 'value'>): string {
  return value.slice(0, value.indexOf('|'));
}

/** Pods have ports of their own. */
export function hasTarget({ backend, targetPort }: Pick<Listener, 'backend' | 'targetPort'>): boolean {
  return isPort(targetPort) || (targetPort === 0 && isPodBackend(backend));
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port < 65_536;
}

/** One line of the map file. */
export function entryLine({ key, value }: MapEntry): string {
  return `${key} ${value}\n`;
}

/** The map file. */
export function mapText(entries: Entries): string {
  return Array.from(entries, ([, entry]) => entryLine(entry)).join('');
}

/** A change of one entry. HAProxy's map accepts a second entry with the same key, so `add` is only for new keys. */
export type EntryChange =
  | { readonly do: 'add' | 'set'; readonly key: string; readonly value: string }
  | { readonly do: 'del'; readonly key: string };

/**
 * The entries that a worker holds. Invariant: the changes from {@link HeldEntries.upserts} and {@link
 * HeldEntries.prune} have been made before the next call; a caller that failed to make them must read the worker again.
 */
export type HeldEntries = {
  readonly values: ReadonlyMap<string, string>;
  /** The changes that add and set all entries of `wanted`. */
  upserts(wanted: Entries): readonly EntryChange[];
  /** All changes that make the entries equal to `wanted`. */
  prune(wanted: Entries): readonly EntryChange[];
};

export function makeHeldEntries(values: Map<string, string>): HeldEntries {
  /** All of these entries are held. */
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
      values.delete(key); // its text is a part of HAProxy's answer, all of which it keeps in memory
      values.set(key, value);
      if (present !== value) changes.push({ do: present === undefined ? 'add' : 'set', key, value });
    }
    reached = wanted;
    return changes;
  };

  return {
    values,
    upserts,
    prune: (wanted) => {
      const changes = upserts(wanted); // after a fresh read of the worker all entries would count as leaving
      const gone = [...leaving];
      for (const key of gone) values.delete(key);
      leaving.clear();
      return [...changes, ...gone.map((key) => ({ do: 'del', key }) as const)];
    },
  };
}

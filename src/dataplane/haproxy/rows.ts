import { createHash } from 'node:crypto';
import type { ListenerKey, ServiceKey } from '../../core/model/names.ts';
import type { PersistentMap } from '../../core/persistent-map.ts';
import type { Profile, Row } from '../../core/traffic/table.ts';
import { isPort, nodesBackend } from './servers.ts';

/** A row of the map: `VIP|port` and its policy. Fields as in {@link formatPolicy}. */
export type Entry = { readonly key: string; readonly value: string };

/** One that did not change keeps its identity. */
export type Entries = PersistentMap<ListenerKey, Entry>;

/** `VIP|port`; `|` and not `:`, so that IPv6 is unambiguous. */
export function entryKey({ address, port }: Row): string {
  return `${address.text}|${port}`;
}

/** `backend|nodePort|cap|service`: one value, so that one `set map` changes all of a row at once. */
function formatPolicy(backend: string, nodePort: number, cap: number, service: string): string {
  return `${backend}|${nodePort}|${cap}|${service}`;
}

/** Tells Services apart without their names: no text that a user wrote reaches HAProxy. */
function serviceId(service: ServiceKey): string {
  return createHash('sha256').update(service).digest('hex').slice(0, 16);
}

/** The backend's name in a row's value. */
export function backendOf(value: string): string {
  return value.slice(0, value.indexOf('|'));
}

/**
 * The row as HAProxy gets it, or `undefined` where there is nothing that it could serve: another protocol than TCP, a
 * port out of range. `slotFor` is asked for rows with a backend of their own.
 */
export function rowEntry(row: Row, slotFor: (profile: Profile) => string, defaultCap: number): Entry | undefined {
  const { backend, port } = row;
  const cap = Math.max(1, Math.floor(row.maxConnections ?? defaultCap));
  if (row.protocol !== 'TCP' || !isPort(port) || !Number.isSafeInteger(cap)) return undefined;
  const key = entryKey(row);
  const service = serviceId(row.service);
  if (backend.kind === 'own') return { key, value: formatPolicy(slotFor(backend.profile), 0, cap, service) };
  if (!isPort(backend.nodePort)) return undefined;
  return { key, value: formatPolicy(nodesBackend(backend.family), backend.nodePort, cap, service) };
}

/** One line of the map file. */
export function entryLine({ key, value }: Entry): string {
  return `${key} ${value}\n`;
}

/** The map file. */
export function mapText(entries: Entries): string {
  return Array.from(entries, ([, entry]) => entryLine(entry)).join('');
}

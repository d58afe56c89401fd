import { expect } from 'vitest';
import type { Settings } from '../../../src/dataplane/haproxy/config/config.ts';
import { fullConfigOf, planDesired } from '../../../src/dataplane/haproxy/config/desired.ts';
import { mapText } from '../../../src/dataplane/haproxy/config/entries.ts';
import { directLayout } from '../../../src/dataplane/direct/table/layout.ts';
import { natLayout } from '../../../src/dataplane/nat/layout.ts';
import { type Element, ListenerError } from '../../../src/dataplane/nftables/element.ts';
import { steeringLayout } from '../../../src/dataplane/nftables/steering-layout.ts';
import { emptyTable, type Listener, type TrafficTable } from '../../../src/core/traffic/table.ts';

const settings: Settings = {
  folder: '/var/lib/furiwake/haproxy',
  maxConnections: 8900,
  idleTimeoutSeconds: 3600,
  hasIpv6: true,
  account: undefined,
};
const fixedLines = new Set(fullConfigOf(settings, planDesired(settings, emptyTable, undefined)).split('\n'));
/** A line that a table adds: one of a few words first, and no character that ends a line, a word in quotes or a command. */
const addedLine =
  /^(?: {4}(?:server|balance|hash-type|timeout|option|mode) [\w.:/~?=&[\] -]+| {4}http-request set-header (?:X-Forwarded-For|Forwarded) [\w%=;"[\]\\]+| {4}tcp-request content set-var-fmt\(txn\.client\) %\[be_name\]\|%\[src\]| {4}stick on (?:var\(txn\.client\)|src,hex,concat\(\|spare[46][\w.-]*\)) table affinity[46]-\d+| {4}stick-table type string len 64 size 100k expire \d+s|backend affinity[46]-\d+|backend spare[46][\w.-]*| {4}description "furiwake [0-9a-f]{16}")$/;
const mapLine = /^[\d.:a-f]+\|\d{1,5} [a-z][\w.-]*(?:\|[0-9a-f]+)+$/;
/** Addresses, ports, protocols, ranges and numbers, and a chain for a timeout or a kind of listener. */
const elementText =
  /^[0-9a-f:.-]+(?: [.:] (?:[0-9a-f:.-]+|tcp|udp|sctp|jump (?:keep|client)[46]for\d+|goto (?:ranged)?(?:straight|checked)[46]))*$/;

/** Fails if what HAProxy and nft get for a table has other lines than those of furiwake. */
export function expectOwnLinesOnly(table: TrafficTable): void {
  const desired = planDesired(settings, table, undefined);
  for (const line of fullConfigOf(settings, desired).split('\n'))
    if (!fixedLines.has(line)) expect(line).toMatch(addedLine);
  for (const line of mapText(desired.entries).split('\n').slice(0, -1)) expect(line).toMatch(mapLine);
  for (const listener of table.listeners.values())
    for (const { text, list } of elementsOf(listener))
      for (const each of [text, ...(list?.sources ?? [])]) expect(each).toMatch(elementText);
}

/** What each of the three tables has for the listener; those that cannot serve it refuse it by name. */
function elementsOf(listener: Listener): readonly Element[] {
  const { key } = listener;
  return [
    () => steeringLayout.elementsOf({ ...steeringLayout.empty, portOf: () => 292 }, listener),
    () => natLayout.elementsOf(natLayout.empty, listener),
    () =>
      directLayout.elementsOf(
        {
          ...directLayout.empty,
          ids: directLayout.empty.ids.with([[key, 1]]),
          groups: directLayout.empty.groups.with([[key, { id: 1, marks: [1], open: [1] }]]),
        },
        listener,
      ),
  ].flatMap((render) => {
    try {
      return render();
    } catch (error) {
      if (error instanceof ListenerError) return [];
      throw error;
    }
  });
}

import { expect, test } from 'vitest';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { AddressRecord } from '../core/addresses/assignment.ts';
import { serviceKey, type ServiceUid } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ledger, LedgerRecords } from '../ports/ledger.ts';
import { type LedgerWriter, makeLedgerWriter } from './ledger-writer.ts';

const { signal } = new AbortController();
const uid = 'uid-a' as ServiceUid;
const record: AddressRecord = { uid, service: serviceKey('default', 'a'), addresses: [], listeners: [] };
const wanted: LedgerRecords = PersistentMap.from([[uid, record]]);

/** A ledger that refuses `failures` commits. */
function makeRig(
  clock: Clock,
  failures: number,
): { readonly writer: LedgerWriter; readonly attempts: () => number; readonly lines: () => number } {
  let attempts = 0;
  const ledger: Ledger = {
    read: async () => PersistentMap.empty(),
    commit: async (changes) => {
      attempts++;
      return attempts > failures ? new Map() : new Map(Array.from(changes.keys(), (key) => [key, 'ENOSPC']));
    },
  };
  const log = recordLog();
  const writer = makeLedgerWriter({ ledger, clock, log });
  return { writer, attempts: () => attempts, lines: () => log.lines.length };
}

test('a failed commit is tried again after growing waits, and logged once', async () => {
  const clock = virtualClock();
  const { writer, attempts, lines } = makeRig(clock, 1_000);
  writer.subscribe(() => void writer.commit(wanted, signal));
  expect(await writer.commit(wanted, signal)).toEqual(new Map([[uid, 'ENOSPC']]));
  expect(await writer.commit(wanted, signal)).toEqual(new Map([[uid, 'ENOSPC']])); // too early: not tried
  expect(attempts()).toBe(1);
  await clock.advance(60_000);
  expect(attempts()).toBeGreaterThan(5);
  expect(attempts()).toBeLessThan(20);
  expect(lines()).toBe(1);
});

test('a timer that fires early does not end the attempts', async () => {
  const clock = virtualClock();
  const early: Clock = { ...clock, sleep: (ms, until) => clock.sleep(Math.max(1, Math.floor(ms * 0.9)), until) };
  const { writer } = makeRig(early, 3);
  writer.subscribe(() => void writer.commit(wanted, signal));
  await writer.commit(wanted, signal);
  await clock.advance(60_000);
  expect(writer.records().get(uid)).toEqual(record);
});

test('a commit without an answer is waited for once, for a second; when it ends late, its records count', async () => {
  const clock = virtualClock();
  const answer = Promise.withResolvers<ReadonlyMap<ServiceUid, string>>();
  let attempts = 0;
  const ledger: Ledger = {
    read: async () => PersistentMap.empty(),
    commit: () => {
      attempts++;
      return answer.promise;
    },
  };
  const log = recordLog();
  const writer = makeLedgerWriter({ ledger, clock, log });
  let wakes = 0;
  writer.subscribe(() => void wakes++);
  const unrecorded = new Map([[uid, 'the disk of the state directory does not answer']]);
  expect(await clock.drive(writer.commit(wanted, signal))).toEqual(unrecorded);
  expect(clock.monotonic()).toBe(1_000);
  expect(await clock.drive(writer.commit(wanted, signal))).toEqual(unrecorded);
  expect(clock.monotonic()).toBe(1_000);
  expect([attempts, writer.trouble()]).toEqual([1, unrecorded.get(uid)]);
  expect(log.lines.filter(({ level }) => level === 'error')).toHaveLength(1);
  answer.resolve(new Map());
  await clock.advance(0);
  expect([wakes, writer.trouble(), writer.records().get(uid)]).toEqual([1, undefined, record]);
  expect(await writer.commit(wanted, signal)).toEqual(new Map());
});

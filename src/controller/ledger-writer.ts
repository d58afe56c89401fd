import { makeBackoff, waitLimits } from '../async/backoff.ts';
import { settlesWithin } from '../async/settles-within.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import { makeTrouble } from '../async/trouble.ts';
import type { AddressRecord } from '../core/addresses/assignment.ts';
import type { ServiceUid } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { usualCallMs } from '../ports/call-times.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ledger, LedgerRecords } from '../ports/ledger.ts';
import type { Log } from '../ports/log.ts';

/**
 * The ledger, and the records that it is known to hold. After a failed commit the next one waits, longer each time. A commit
 * without an answer for a second continues; until it ends, no other one begins.
 */
export type LedgerWriter = {
  load(): Promise<void>;
  /** What is committed. */
  records(): LedgerRecords;
  /** Makes the ledger hold `wanted`; resolves with the keys that it does not hold yet, each with why. */
  commit(wanted: LedgerRecords, signal: AbortSignal): Promise<ReadonlyMap<ServiceUid, string>>;
  /** Why the last commit failed, or has no answer; `undefined`: neither. */
  trouble(): string | undefined;
  /** Called when a failed commit is due to be tried again, and when a late one has ended. */
  subscribe(listener: () => void): () => void;
};

type Changes = ReadonlyMap<ServiceUid, AddressRecord | undefined>;

const noAnswer = 'the disk of the state directory does not answer';

export function makeLedgerWriter({
  ledger,
  clock,
  log,
}: {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly log: Log;
}): LedgerWriter {
  let records: LedgerRecords = PersistentMap.empty();
  let failed: { readonly dueMs: number; readonly words: ReadonlyMap<ServiceUid, string> } | undefined;
  let isUnderWay = false;
  const backoff = makeBackoff(waitLimits.usual);
  const trouble = makeTrouble({ what: 'recording addresses', log, clock, level: 'error' });
  const due = makeSubscribers();

  const retryAt = async (dueMs: number, signal: AbortSignal): Promise<void> => {
    // A timer may fire a little early by the monotonic clock, and `commit` would not try then.
    for (let leftMs = dueMs - clock.monotonic(); leftMs > 0; leftMs = dueMs - clock.monotonic())
      await clock.sleep(Math.ceil(leftMs), signal);
    due.tell();
  };

  const attempt = async (
    wanted: LedgerRecords,
    changes: Changes,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<ServiceUid, string>> => {
    isUnderWay = true;
    try {
      const words = await ledger.commit(changes, signal);
      records = words.size === 0 ? wanted : records.with([...changes].filter(([uid]) => !words.has(uid)));
      if (words.size === 0) {
        failed = undefined;
        backoff.reset();
        trouble.over();
        return words;
      }
      const waitMs = backoff.next();
      failed = { dueMs: clock.monotonic() + waitMs, words };
      const [first = ''] = words.values();
      trouble.failed(first, { services: words.size });
      void retryAt(failed.dueMs, signal).catch(() => undefined); // aborted
      return words;
    } finally {
      isUnderWay = false;
    }
  };

  const refuseAll = (changes: Changes, words: string): ReadonlyMap<ServiceUid, string> =>
    new Map(Array.from(changes.keys(), (uid) => [uid, words]));

  return {
    load: async () => {
      records = await ledger.read();
    },
    records: () => records,
    commit: async (wanted, signal) => {
      const changes: Changes = new Map(PersistentMap.changedKeys(records, wanted).map((uid) => [uid, wanted.get(uid)]));
      if (isUnderWay) return refuseAll(changes, noAnswer);
      if (changes.size === 0) {
        if (failed !== undefined) trouble.over();
        failed = undefined;
        records = wanted; // the same content: maps that share their structure are compared in no time
        return new Map();
      }
      if (failed !== undefined && clock.monotonic() < failed.dueMs) {
        const [words = 'the last attempt failed'] = failed.words.values();
        return new Map(Array.from(changes.keys(), (uid) => [uid, failed?.words.get(uid) ?? words]));
      }
      const ended = attempt(wanted, changes, signal);
      if (await settlesWithin(ended, usualCallMs, clock, signal)) return await ended;
      trouble.failed(noAnswer, { services: changes.size });
      void ended.finally(due.tell).catch(() => undefined); // the next commit meets the error
      return refuseAll(changes, noAnswer);
    },
    trouble: () => {
      if (isUnderWay) return noAnswer;
      const [words] = failed?.words.values() ?? [];
      return words;
    },
    subscribe: due.subscribe,
  };
}

import { messageOf } from './error-words.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';

/**
 * Logs a lasting failure: each of its messages at the first occurrence and again at growing intervals, and once more
 * when it is over. A failure whose message alternates between two texts is not logged each time.
 */
export type Trouble = {
  /** An attempt failed. `error`: what was thrown, or words of our own, which need no stack. */
  failed(error: unknown, fields?: Readonly<Record<string, unknown>>): void;
  /** An attempt succeeded, now or `sinceMs` (monotonic): what it began may have to last before it counts. */
  over(sinceMs?: number): void;
  /** Nothing is attempted any more: the failure ends without a line in the log. */
  drop(): void;
};

const firstReminderMs = 60_000;
const mostReminderMs = 3_600_000;
/** Limit for one failure; further messages count as one. */
const mostMessages = 16;

type Reminder = { readonly dueMs: number; readonly intervalMs: number };

/** `what` completes "… failed" and "… works again" in the log: what was tried, for example `writing the map file`. */
export function makeTrouble(options: {
  readonly what: string;
  readonly log: Log;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly level?: 'warn' | 'error';
}): Trouble {
  const { what, log, clock, level = 'warn' } = options;
  let lasting: { readonly sinceMs: number; attempts: number; readonly reminders: Map<string, Reminder> } | undefined;
  const drop = (): void => {
    if (lasting !== undefined) log.failing(what, -1);
    lasting = undefined;
  };
  return {
    failed: (error, fields = {}) => {
      const message = messageOf(error);
      const nowMs = clock.monotonic();
      if (lasting === undefined) log.failing(what, 1);
      lasting ??= { sinceMs: nowMs, attempts: 0, reminders: new Map() };
      lasting.attempts++;
      const { attempts, reminders } = lasting;
      const key = reminders.has(message) || reminders.size < mostMessages ? message : 'others';
      const before = reminders.get(key);
      if (before !== undefined && nowMs < before.dueMs) return;
      const intervalMs = before === undefined ? firstReminderMs : Math.min(before.intervalMs * 2, mostReminderMs);
      reminders.set(key, { dueMs: nowMs + intervalMs, intervalMs });
      log[level]({ ...fields, err: error, ...(attempts > 1 ? { attempts } : {}) }, `${what} failed; retrying`);
    },
    over: (sinceMs = clock.monotonic()) => {
      if (lasting === undefined) return;
      const seconds = Math.round((sinceMs - lasting.sinceMs) / 1000);
      log.info({ attempts: lasting.attempts, seconds }, `${what} works again`);
      drop();
    },
    drop,
  };
}

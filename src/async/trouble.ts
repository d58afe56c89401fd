import type { Log } from '../ports/log.ts';

/**
 * Logs a failure that lasts: at its first occurrence, whenever its message changes, and again after growing intervals;
 * and once more when it is over.
 */
export type Trouble = {
  /** An attempt failed. */
  failed(error: unknown, fields?: Readonly<Record<string, unknown>>): void;
  /** An attempt succeeded. */
  over(): void;
};

const firstReminderMs = 60_000;
const mostReminderMs = 3_600_000;

/** `what` completes "… failed" and "… works again" in the log: what was tried, for example `writing the map file`. */
export function makeTrouble({
  what,
  log,
  monotonic,
  level = 'warn',
}: {
  readonly what: string;
  readonly log: Log;
  /** Time in ms, see `Clock.monotonic`. */
  readonly monotonic: () => number;
  readonly level?: 'warn' | 'error';
}): Trouble {
  let last: { message: string; remindAtMs: number; intervalMs: number; attempts: number; sinceMs: number } | undefined;
  return {
    failed: (error, fields = {}) => {
      const message = error instanceof Error ? error.message : String(error);
      const nowMs = monotonic();
      const attempts = (last?.attempts ?? 0) + 1;
      if (last !== undefined && last.message === message && nowMs < last.remindAtMs) {
        last.attempts = attempts;
        return;
      }
      const intervalMs = last?.message === message ? Math.min(last.intervalMs * 2, mostReminderMs) : firstReminderMs;
      last = { message, remindAtMs: nowMs + intervalMs, intervalMs, attempts, sinceMs: last?.sinceMs ?? nowMs };
      log[level]({ ...fields, err: error, ...(attempts > 1 ? { attempts } : {}) }, `${what} failed; retrying`);
    },
    over: () => {
      if (last === undefined) return;
      const seconds = Math.round((monotonic() - last.sinceMs) / 1000);
      log.info({ attempts: last.attempts, seconds }, `${what} works again`);
      last = undefined;
    },
  };
}

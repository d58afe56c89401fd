import type { Clock } from '../ports/clock.ts';

/**
 * When an audit that reads everything is due again: at once on a small site, where it takes little; otherwise it takes at most a
 * five-thousandth of the time, so that an idle second costs no more with ten thousand Services than with ten.
 */
export type AuditPace = {
  isDue(): boolean;
  /** Runs such an audit. One that fails is due at once: its caller waits. */
  run<T>(audit: () => Promise<T>): Promise<T>;
};

/** The processor time of an audit on a small site, where the machine is busy as well. */
const littleMs = 30;
/** The least of so many counts: what the process does beside an audit is measured with it. */
const measured = 3;
/** The time between two audits, in processor times of the first one. */
const share = 5_000;
const mostMs = 3_600_000;

export function makeAuditPace(clock: Pick<Clock, 'monotonic' | 'processorMs'>): AuditPace {
  let dueMs = -Infinity;
  /** Of the last audits, the latest first. */
  let times: readonly number[] = [];
  return {
    isDue: () => clock.monotonic() >= dueMs,
    run: async (audit) => {
      const before = clock.processorMs();
      const result = await audit();
      times = [clock.processorMs() - before, ...times].slice(0, measured);
      const tookMs = times.length < measured ? 0 : Math.min(...times);
      dueMs = clock.monotonic() + (tookMs <= littleMs ? 0 : Math.min(mostMs, tookMs * share));
      return result;
    },
  };
}

import type { Clock } from '../ports/clock.ts';
import { unlessAborted } from './abort.ts';

/** Whether `work` ends within `ms`, in success or failure. If not, it continues. Rejects with the reason of `signal`. */
export async function settlesWithin(
  work: Promise<unknown>,
  ms: number,
  clock: Pick<Clock, 'deadline'>,
  signal: AbortSignal,
): Promise<boolean> {
  const settled = work.then(
    () => true,
    () => true,
  );
  using deadline = clock.deadline(ms, signal);
  return await unlessAborted(settled, deadline.signal).catch(() => {
    signal.throwIfAborted();
    return false;
  });
}

/** The value of `work`; `otherwise` if it fails, or takes longer than `ms`: then it continues. Rejects with the reason of `signal`. */
export async function valueWithin<T>(
  work: Promise<T>,
  otherwise: T,
  ms: number,
  clock: Pick<Clock, 'deadline'>,
  signal: AbortSignal,
): Promise<T> {
  return (await settlesWithin(work, ms, clock, signal)) ? await work.catch(() => otherwise) : otherwise;
}

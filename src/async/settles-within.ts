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

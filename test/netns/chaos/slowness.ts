import { availableParallelism, loadavg } from 'node:os';

/** How many times as long everything may take because of other programs: of those that want a core, at most `most`. */
export function slowness(most: number): number {
  const [programs = 0] = loadavg();
  return Math.min(most, Math.max(1, programs / availableParallelism()));
}

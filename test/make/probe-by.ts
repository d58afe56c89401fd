import type { Probe } from '../../src/health/probe.ts';
import type { CheckAnswer } from '../../src/ports/health.ts';

/** A probe whose answers follow from the address. */
export function probeBy(answerOf: (address: string) => CheckAnswer): Probe {
  return async (targets) => new Map(Array.from(targets, ([key, { text }]) => [key, answerOf(text)]));
}

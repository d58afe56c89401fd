import { endBySignal, otherSignals } from './signals.ts';

/*
 * Imported before all that takes time: until a process has a handler of its own, SIGHUP ends it, also one that has just been started.
 */

/** See `endBySignal`. */
export const end: AbortSignal = endBySignal();
/** See `otherSignals`. */
export const signals: ReturnType<typeof otherSignals> = otherSignals();

import { endBySignal, otherSignals } from './signals.ts';

/*
 * Imported before all that takes time: until a process has a handler of its own, SIGHUP ends it, and whoever sends one to a furiwake that has
 * just been started wants no end.
 */

/** See `endBySignal`. */
export const end: AbortSignal = endBySignal();
/** See `otherSignals`. */
export const signals: ReturnType<typeof otherSignals> = otherSignals();

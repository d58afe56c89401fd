/**
 * How long the kernel keeps the addresses that placement added: on a host whose furiwake is dead or hangs, they end before another
 * host announces them.
 */
export type AddressExpiry = {
  /**
   * Until when the kernel keeps the addresses that furiwake added, and those that it adds from now on: then it removes them itself,
   * even if furiwake is dead, and nothing is added until there is a later time. Monotonic ms, exact to two seconds; `undefined`:
   * without end, as at the start. Throws `ExecError` if `ip` cannot be run.
   */
  keepUntil(untilMs: number | undefined, signal: AbortSignal): Promise<void>;
  /** Removes those that the kernel would keep without end (see `keepUntil`), also of an earlier process; the others end by themselves. */
  removeUnending(signal: AbortSignal): Promise<void>;
};

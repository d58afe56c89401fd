import type { Log } from '../../src/ports/log.ts';

/** For tests to which it does not matter what is logged. */
export const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

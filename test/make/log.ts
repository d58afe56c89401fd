import type { Log } from '../../src/ports/log.ts';

/** For tests that do not check the log. */
export const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  failing: () => undefined,
  child: () => silent,
};

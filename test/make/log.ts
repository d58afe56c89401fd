import type { Log } from '../../src/ports/log.ts';

export type LogLine = { readonly level: string; readonly fields: object; readonly message: string };

/** A log that keeps its lines. */
export function makeTestLog(): { readonly log: Log; readonly records: LogLine[] } {
  const records: LogLine[] = [];
  const at =
    (level: string) =>
    (fields: object, message: string): void =>
      void records.push({ level, fields, message });
  const log: Log = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    failing: () => undefined,
    child: () => log,
  };
  return { log, records };
}

/** For tests that do not check the log. */
export const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  failing: () => undefined,
  child: () => silent,
};

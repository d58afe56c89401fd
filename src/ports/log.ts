/** Structured log: one line per decision, `fields` first. Errors are in the field `err`. */
export type Log = {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
  /** A failure that lasts has begun (1) or ended (-1): the metric `furiwake_failing` counts them by `what`. */
  failing(what: string, change: 1 | -1): void;
  /** A log whose lines all contain `fields`. */
  child(fields: Readonly<Record<string, unknown>>): Log;
};

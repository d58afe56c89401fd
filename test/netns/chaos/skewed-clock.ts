import { readFileSync } from 'node:fs';

/*
 * Loaded before furiwake: its wall clock differs from that of this machine by the number of milliseconds in a file, which a test
 * changes while it runs.
 */
const file = process.env['CHAOS_SKEW_FILE'] ?? '';
let skewMs = 0;
const read = (): void => {
  try {
    skewMs = Number(readFileSync(file, 'utf8'));
  } catch {
    skewMs = 0; // the clock has not jumped
  }
};
read();
setInterval(read, 100).unref();

const RealDate = Date;
const now = (): number => RealDate.now() + skewMs;
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget: typeof Date) =>
    Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget === globalThis.Date ? target : newTarget),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
});

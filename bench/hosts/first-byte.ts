/*
 * Runs on the client: `node first-byte.ts TARGET…`, each `ADDRESS:PORT`, sends requests to each (see `answers.ts`),
 * prints `asking`, and, when all have answered, the times ({@link FirstBytes}).
 */
import { untilAnswered } from './answers.ts';
import { now } from './services.ts';

/** Target → the time of its first byte in ms, of the machine's clock, which all hosts share. */
export type FirstBytes = Readonly<Record<string, number>>;

process.stdout.write('asking\n');
const moments = process.argv.slice(2).map(async (target) => {
  await untilAnswered(target);
  return [target, now()] as const;
});
process.stdout.write(`${JSON.stringify(Object.fromEntries(await Promise.all(moments)))}\n`);

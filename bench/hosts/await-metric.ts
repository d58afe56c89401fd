/*
 * Runs on furiwake's host: `node await-metric.ts NAME VALUE` prints the time at which the metric first had that value.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { metricIn } from '../furiwake.ts';
import { now } from './services.ts';

const [, , name = '', value] = process.argv;
/** One metric: a scrape of all with ten thousand Services would slow furiwake down. */
const url = `http://127.0.0.1:9470/metrics?name[]=${name}`;

async function read(): Promise<number> {
  try {
    return metricIn(await (await fetch(url)).text(), name);
  } catch {
    return Number.NaN; // it does not listen yet
  }
}

while ((await read()) !== Number(value)) await sleep(20);
process.stdout.write(`${now()}\n`);

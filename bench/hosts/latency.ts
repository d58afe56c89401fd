import { createConnection } from 'node:net';
import { quantile } from '../statistics.ts';

/*
 * Requests to `ADDRESS PORT`, one after another, each over a connection of its own, for `MS`. Prints the median of the times until
 * the first byte, in ms, and how many requests failed.
 */
const [address = '', port, ms] = process.argv.slice(2);
const patienceMs = 5_000;
const times: number[] = [];
let failed = 0;
const end = performance.now() + Number(ms);
while (performance.now() < end) {
  const startMs = performance.now();
  if (await isAnswered()) times.push(performance.now() - startMs);
  else failed++;
}
process.stdout.write(JSON.stringify({ medianMs: times.length === 0 ? patienceMs : quantile(times, 0.5), failed }));

function isAnswered(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: address, port: Number(port), timeout: patienceMs });
    const finish = (result: boolean): void => {
      socket.destroy();
      resolve(result);
    };
    socket.once('connect', () => socket.write('GET / HTTP/1.0\r\n\r\n'));
    socket.once('data', () => finish(true)).once('timeout', () => finish(false));
    socket.once('error', () => finish(false)).once('end', () => finish(false));
  });
}

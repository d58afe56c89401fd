/*
 * Runs on furiwake's host: `node scrape.ts` scrapes all metrics, asks `/healthz` again and again meanwhile, and prints the ms that the
 * slowest answer took: furiwake did nothing else for so long.
 */
import { execFile } from 'node:child_process';

const at = (path: string): string => `http://127.0.0.1:9470${path}`;
const askHealth = async (): Promise<string> => await (await fetch(at('/healthz'))).text();
await askHealth(); // the client is ready, and has a connection
const over = new AbortController();
const scrape = new Promise<void>((resolve, reject) => {
  // Another program: this one shall not wait for its own reading.
  execFile('curl', ['-sfo', '/dev/null', at('/metrics')], (error) => {
    over.abort();
    if (error === null) resolve();
    else reject(error);
  });
});
let longestMs = 0;
while (!over.signal.aborted) {
  const askedAt = performance.now();
  await askHealth();
  longestMs = Math.max(longestMs, performance.now() - askedAt);
}
await scrape;
process.stdout.write(`${longestMs}\n`);

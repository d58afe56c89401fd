/*
 * Runs on the client: requests URL every 5 ms, and prints when it first answers. Prints `asking` as soon as it does,
 * then `answered`.
 */
import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const url = process.argv[2] ?? '';

function answers(): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: 1_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
  });
}

process.stdout.write('asking\n');
while (!(await answers())) await sleep(5);
process.stdout.write('answered\n');

/*
 * Runs on the client: `node requests.ts ADDRESS:PORT EVERY_MS` waits until the address answers, says `running`, requests the name of
 * a Pod again and again, each time over a new connection, and prints the outcomes after SIGTERM ({@link RequestOutcome}).
 */
import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { untilAnswered } from './answers.ts';
import { now } from './services.ts';

/** Times in ms; `at`: of the machine's clock, when the request began. Either the Pod, or why there is none. */
export type RequestOutcome = {
  readonly at: number;
  readonly tookMs: number;
  readonly pod?: string;
  readonly failure?: string;
};

/** Longer than the retransmissions of a SYN after 1 and 3 s. */
const deadlineMs = 10_000;

const [target = '', everyMs] = process.argv.slice(2);
const [host = '', port] = target.split(':');
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());

function request(): Promise<RequestOutcome> {
  return new Promise((resolve) => {
    const at = now();
    const fail = (failure: string): void => resolve({ at, tookMs: now() - at, failure });
    const signal = AbortSignal.timeout(deadlineMs);
    get({ host, port: Number(port), path: '/hostname', agent: false, signal }, (response) => {
      if (response.statusCode !== 200) return fail(`status ${response.statusCode}`);
      let pod = '';
      response.setEncoding('utf8').on('data', (text: string) => (pod += text));
      response
        .once('end', () => resolve({ at, tookMs: now() - at, pod }))
        .once('error', ({ message }) => fail(message));
    }).once('error', ({ message }) => fail(message));
  });
}

await untilAnswered(target);
process.stdout.write('running\n');
const outcomes: Promise<RequestOutcome>[] = [];
for (let due = performance.now(); !stop.signal.aborted; due += Number(everyMs)) {
  await sleep(Math.max(0, due - performance.now()));
  outcomes.push(request());
}
process.stdout.write(`${JSON.stringify(await Promise.all(outcomes))}\n`);
process.exit();

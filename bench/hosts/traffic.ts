/*
 * Runs on the client: `node traffic.ts TARGET TARGET`, both `ADDRESS:PORT`, makes a hundred HTTP requests a second to
 * the first, each over a new connection, and holds fifty connections to a `stream-server.ts` at the second. It waits
 * until both answer, prints `running` when all fifty count, and its results after SIGTERM ({@link Traffic}).
 */
import { once } from 'node:events';
import { get } from 'node:http';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { untilAnswered } from './answers.ts';

export type Traffic = {
  readonly requests: number;
  /** The errors of failed requests, one entry for each. */
  readonly failures: readonly string[];
  /** Lines received over the streams. */
  readonly lines: number;
  /** The errors of streams that ended, stalled or lost a line, one entry for each. */
  readonly broken: readonly string[];
};

const streams = 50;
const requestEveryMs = 10;
const deadlineMs = 5_000;

const [requestTarget = '', streamTarget = ''] = process.argv.slice(2);
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
const failures: string[] = [];
const broken: string[] = [];
let requests = 0;
let lines = 0;

/** Opens a stream, which continues until `stop`; resolves with its first line. */
async function hold(): Promise<void> {
  const [host = '', port] = streamTarget.split(':');
  const socket = connect({ host, port: Number(port), timeout: deadlineMs });
  const fail = (why: string): void => {
    if (!stop.signal.aborted && !socket.destroyed) broken.push(why);
    socket.destroy();
  };
  socket.on('error', (error) => broken.push(error.message)).on('end', () => fail('closed by the peer'));
  socket.on('timeout', () => fail(`silent for ${deadlineMs} ms`));
  let next = 0;
  const reader = createInterface({ input: socket }).on('line', (line) => {
    lines++;
    if (Number(line) === next++) return;
    fail(`line ${line} came instead of ${next - 1}`);
  });
  await once(reader, 'line');
}

function request(): Promise<void> {
  return new Promise((resolve) => {
    const [host = '', port] = requestTarget.split(':');
    const fail = (why: string): void => {
      failures.push(why);
      resolve();
    };
    const signal = AbortSignal.timeout(deadlineMs);
    get({ host, port: Number(port), path: '/hostname', agent: false, signal }, (response) => {
      if (response.statusCode !== 200) return fail(`status ${response.statusCode}`);
      response
        .resume()
        .once('end', resolve)
        .once('error', (error) => fail(error.message));
    }).once('error', (error) => fail(error.message));
  });
}

await Promise.all([requestTarget, streamTarget].map(untilAnswered));
await Promise.all(Array.from({ length: streams }, hold));
process.stdout.write('running\n');
const pending = new Set<Promise<void>>();
for (let due = performance.now(); !stop.signal.aborted; due += requestEveryMs) {
  await sleep(Math.max(0, due - performance.now()));
  const mine = request().then(() => void pending.delete(mine));
  pending.add(mine);
  requests++;
}
await Promise.all(pending);
process.stdout.write(`${JSON.stringify({ requests, failures, lines, broken } satisfies Traffic)}\n`);
process.exit();

/*
 * Runs on a client: `node traffic-source.ts URL PER_SECOND HELD`.
 *
 * Requests URL repeatedly, each time over a new connection, and holds HELD other connections with continuous requests.
 * Every 100 ms it prints a line with the totals so far ({@link Totals}).
 */
import { get } from 'node:http';
import { connect } from 'node:net';
import { messageOf } from '../../../src/async/error-words.ts';

export type Totals = {
  /** Finished requests over new connections, and those without an answer 200. */
  readonly asked: number;
  readonly failed: number;
  /** The errors, each kind once. */
  readonly failures: readonly string[];
  readonly slowestMs: number;
  /** From the start of the first failed request to the end of the last one; 0 without any. */
  readonly failingMs: number;
  /** Open held connections, closed ones, and pieces of answers over all of them. */
  readonly holding: number;
  readonly broken: number;
  readonly heard: number;
};

const [, , target = '', perSecond = '0', held = '0'] = process.argv;
const url = new URL(target);
const deadlineMs = 30_000;
const askHeldEveryMs = 100;

let asked = 0;
let failed = 0;
let slowestMs = 0;
let holding = 0;
let broken = 0;
let heard = 0;
let firstFailureMs: number | undefined;
let failingMs = 0;
const failures = new Set<string>();

function ask(): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false, signal: AbortSignal.timeout(deadlineMs) }, (response) => {
      response.resume();
      response.once('end', () => resolve(response.statusCode ?? 0)).once('error', reject);
    });
    request.once('error', reject);
  });
}

async function askOnce(): Promise<void> {
  const startedAt = performance.now();
  const failure = await ask().then(
    (status) => (status === 200 ? undefined : `status ${status}`),
    (error: unknown) => messageOf(error),
  );
  asked++;
  slowestMs = Math.max(slowestMs, performance.now() - startedAt);
  if (failure === undefined) return;
  failed++;
  failures.add(failure);
  firstFailureMs ??= startedAt;
  failingMs = performance.now() - firstFailureMs;
}

/** HTTP over a plain socket: an agent would silently use another connection when this one ends. */
function hold(): void {
  const socket = connect({ host: url.hostname.replaceAll(/[[\]]/g, ''), port: Number(url.port || 80) });
  const timer = setInterval(() => socket.write(`GET ${url.pathname} HTTP/1.1\r\nHost: test\r\n\r\n`), askHeldEveryMs);
  socket.once('connect', () => holding++);
  socket.on('data', () => heard++);
  socket.on('error', () => undefined); // `close` follows
  socket.once('close', () => {
    clearInterval(timer);
    holding--;
    broken++;
  });
}

function tell(): void {
  const totals: Totals = {
    asked,
    failed,
    failures: [...failures],
    slowestMs: Math.round(slowestMs),
    failingMs: Math.round(failingMs),
    holding,
    broken,
    heard,
  };
  process.stdout.write(`${JSON.stringify(totals)}\n`);
}

for (let i = 0; i < Number(held); i++) hold();
if (Number(perSecond) > 0) setInterval(() => void askOnce(), 1000 / Number(perSecond));
setInterval(tell, 100);
process.stdout.once('error', () => process.exit(1)); // the reader has ended

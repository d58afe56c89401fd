import { createConnection } from 'node:net';
import type { Ip } from '../core/ip/ip.ts';
import type { Clock } from '../ports/clock.ts';
import type { CheckAnswer } from '../ports/health.ts';
import { kubeProxyHealthPort } from '../core/model/contract.ts';

/**
 * Asks the kube-proxy of each node for its health, as HAProxy does, all at once: the answers are there after half a second, however
 * many nodes are silent. Rejects only with the signal's reason; any result other than an HTTP answer and certain silence is `alive`.
 */
export type Probe = <Key>(targets: ReadonlyMap<Key, Ip>, signal: AbortSignal) => Promise<ReadonlyMap<Key, CheckAnswer>>;

/** Before the status: `HTTP/1.1 `. */
const statusAt = 9;

const deadlineMs = 500;
const silence = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ETIMEDOUT']);

/**
 * One deadline serves all requests of a round, and it closes their sockets without an error: with a signal and an `AbortError` for
 * each, a round of 5,000 silent nodes would take more than a second of processor time instead of a fifth.
 */
export function makeProbe({ clock }: { readonly clock: Clock }): Probe {
  return async (targets, signal) => {
    const requests = Array.from(targets, ([key, address]) => ({ key, ...request(address) }));
    using late = clock.deadline(deadlineMs, signal);
    const end = (): void => {
      // Answers that arrived while this process was busy are read first.
      setImmediate(() => {
        for (const each of requests) each.end();
      });
    };
    if (late.signal.aborted) end();
    else late.signal.addEventListener('abort', end, { once: true });
    const answers = await Promise.all(requests.map(async ({ key, answer }) => [key, await answer] as const));
    signal.throwIfAborted();
    return new Map(answers);
  };
}

/** `end`: no longer waits for an answer. */
function request(address: Ip): { readonly answer: Promise<CheckAnswer>; end(): void } {
  const { promise: answer, resolve } = Promise.withResolvers<CheckAnswer>();
  let isConnected = false;
  let text = '';
  const finish = (found: CheckAnswer): void => {
    socket.destroy();
    resolve(found);
  };
  const socket = createConnection({ host: address.text, port: kubeProxyHealthPort });
  socket.setEncoding('latin1');
  socket.on('connect', () => {
    isConnected = true;
    socket.write('GET /healthz HTTP/1.0\r\n\r\n');
  });
  socket.on('data', (part: string) => {
    text += part;
    if (text.length >= 5 && !text.startsWith('HTTP/')) finish('alive');
    else if (text.length >= statusAt + 3) finish(text.startsWith('200', statusAt) ? 'ok' : 'unhealthy');
  });
  socket.on('end', () => finish('alive'));
  socket.on('error', ({ code = '' }: NodeJS.ErrnoException) =>
    finish(!isConnected && silence.has(code) ? 'silent' : 'alive'),
  );
  return { answer, end: () => finish(isConnected ? 'alive' : 'silent') };
}

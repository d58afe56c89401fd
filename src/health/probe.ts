import { createConnection } from 'node:net';
import type { Ip } from '../core/ip/ip.ts';
import type { Clock } from '../ports/clock.ts';
import type { CheckAnswer } from '../ports/health.ts';
import { kubeProxyHealthPort } from '../core/model/contract.ts';

/**
 * Asks a node's kube-proxy for its health, as HAProxy does. Rejects only with the signal's reason; any result other than an
 * HTTP answer and certain silence is `alive`.
 */
export type Probe = (address: Ip, signal: AbortSignal) => Promise<CheckAnswer>;

/** Before the status: `HTTP/1.1 `. */
const statusAt = 9;

const probeDeadlineMs = 500;
const silence = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ETIMEDOUT']);

export function makeProbe(deps: { readonly clock: Clock }): Probe {
  return (address, signal) =>
    new Promise((resolve, reject) => {
      const deadline = deps.clock.deadline(probeDeadlineMs, signal);
      let isConnected = false;
      let text = '';
      const finish = (answer: CheckAnswer): void => {
        socket.destroy();
        resolve(answer);
      };
      const socket = createConnection({ host: address.text, port: kubeProxyHealthPort, signal: deadline.signal });
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
      socket.on('close', () => deadline[Symbol.dispose]());
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (signal.aborted) reject(signal.reason);
        else if (isConnected) finish('alive');
        else finish(deadline.signal.aborted || silence.has(error.code ?? '') ? 'silent' : 'alive');
      });
    });
}

const probesAtOnce = 64;

/** Probes all nodes, a limited number at a time. */
export async function probeAll<Key, Answer>(
  probe: (address: Ip, signal: AbortSignal) => Promise<Answer>,
  targets: ReadonlyMap<Key, Ip>,
  signal: AbortSignal,
): Promise<ReadonlyMap<Key, Answer>> {
  const answers = new Map<Key, Answer>();
  const waiting = targets.entries();
  const work = async (): Promise<void> => {
    for (const [key, address] of waiting) answers.set(key, await probe(address, signal));
  };
  await Promise.all(Array.from({ length: Math.min(probesAtOnce, targets.size) }, work));
  return answers;
}

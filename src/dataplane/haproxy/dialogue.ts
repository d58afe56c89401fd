import { createConnection } from 'node:net';
import type { Clock } from '../../ports/clock.ts';
import { RuntimeError } from './errors.ts';

/**
 * Says `text` to a socket of HAProxy's on a connection of its own, and resolves with all that it answers until it hangs
 * up. Throws {@link RuntimeError} when nobody listens, or no end comes within three seconds.
 */
export type Dialogue = (text: string, signal: AbortSignal) => Promise<string>;

const answerDeadlineMs = 3000;

export function makeDialogue(deps: { readonly socketPath: string; readonly clock: Clock }): Dialogue {
  const { socketPath, clock } = deps;
  return (text, signal) =>
    new Promise((resolve, reject) => {
      const deadline = clock.deadline(answerDeadlineMs, signal);
      const chunks: Buffer[] = [];
      const socket = createConnection({ path: socketPath });
      const stop = (): void => void socket.destroy(deadline.signal.reason as Error); // its option `signal` costs 0.3 ms
      deadline.signal.addEventListener('abort', stop, { once: true });
      if (deadline.signal.aborted) stop();
      socket.on('close', () => deadline[Symbol.dispose]());
      socket.on('connect', () => socket.write(text));
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('error', (error) => {
        reject(signal.aborted ? signal.reason : new RuntimeError(`${socketPath}: ${error.message}`, { cause: error }));
      });
      socket.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    });
}

import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const everyMs = 5;
const patienceMs = 500;

/**
 * Sends a request to `ADDRESS:PORT` every 5 ms, each over a new connection, until a byte arrives on one of them. It
 * does not wait until an attempt fails: a NodePort without endpoints silently drops the first packet.
 */
export async function untilAnswered(target: string): Promise<void> {
  const [host = '', port] = target.split(':');
  const over = new AbortController();
  while (!over.signal.aborted) {
    ask(host, Number(port), over);
    await sleep(everyMs, undefined, { signal: over.signal }).catch(() => undefined); // answered
  }
}

/** Aborts `over` when a byte has arrived, and ends when `over` was aborted by another attempt. */
function ask(host: string, port: number, over: AbortController): void {
  const socket = connect({ host, port, timeout: patienceMs });
  const end = (): void => void socket.destroy();
  over.signal.addEventListener('abort', end);
  socket.once('connect', () => socket.write(`GET /hostname HTTP/1.1\r\nHost: ${host}\r\n\r\n`));
  socket.once('data', () => over.abort()).once('timeout', end);
  socket.once('error', end).once('close', () => over.signal.removeEventListener('abort', end));
}

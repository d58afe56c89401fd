import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const everyMs = 5;
const patienceMs = 500;

/**
 * Asks `ADDRESS:PORT` every 5 ms, each time over a connection of its own, until a byte comes back on one of them. It
 * does not wait for one attempt to fail: a NodePort without endpoints drops the first packet, and says nothing.
 */
export async function untilAnswered(target: string): Promise<void> {
  const [host = '', port] = target.split(':');
  const over = new AbortController();
  while (!over.signal.aborted) {
    ask(host, Number(port), over);
    await sleep(everyMs, undefined, { signal: over.signal }).catch(() => undefined); // answered
  }
}

/** Aborts `over` when a byte has come, and ends when somebody else has. */
function ask(host: string, port: number, over: AbortController): void {
  const socket = connect({ host, port, timeout: patienceMs });
  const end = (): void => void socket.destroy();
  over.signal.addEventListener('abort', end);
  socket.once('connect', () => socket.write(`GET /hostname HTTP/1.1\r\nHost: ${host}\r\n\r\n`));
  socket.once('data', () => over.abort()).once('timeout', end);
  socket.once('error', end).once('close', () => over.signal.removeEventListener('abort', end));
}

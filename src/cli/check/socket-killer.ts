import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { messageOf } from '../../async/error-words.ts';
import type { Clock } from '../../ports/clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

const advice =
  'connections of a deleted Service, and of clients outside changed source ranges, continue until client or server end them; furiwake needs a kernel with INET_DIAG_DESTROY to reset them';

const loAdvice = 'bring the loopback interface up (ip link set lo up): HAProxy listens on its addresses';

/** Whether the kernel lets `ss -K` end a connection (INET_DIAG_DESTROY): tried on one of our own, on loopback. */
export async function checkSocketKiller(exec: Exec, clock: Clock, signal: AbortSignal): Promise<Finding> {
  const sockets: Socket[] = [];
  using within = clock.deadline(3_000, signal);
  const deadline = within.signal;
  const server = createServer((socket) => sockets.push(socket.on('error', () => undefined)));
  try {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening', { signal: deadline });
    const { port } = server.address() as AddressInfo;
    const client = connect(port, '127.0.0.1');
    sockets.push(client);
    try {
      await once(client, 'connect', { signal: deadline });
    } catch (error) {
      signal.throwIfAborted();
      return problem(`not tried, this host cannot connect to itself: ${messageOf(error)}`, loAdvice);
    }
    const ended = new Promise<void>((resolve, reject) => {
      client.on('error', () => undefined); // it is to be reset
      client.on('close', () => resolve());
      deadline.addEventListener('abort', () => reject(new Error('the connection continues')), { once: true });
    });
    ended.catch(() => undefined); // awaited below, unless ss fails first
    await exec.run(
      'ss',
      ['-H', '-4', '-t', '-K', 'state', 'established', 'dst', '127.0.0.1', 'dport', '=', `:${port}`],
      { signal: deadline },
    );
    await ended;
    return ok('can end the connections of a Service that is deleted');
  } catch (error) {
    signal.throwIfAborted();
    return warning(error instanceof ExecError ? messageOf(error) : 'cannot end a connection', advice);
  } finally {
    server.close();
    for (const socket of sockets) socket.destroy(); // one that stays open keeps this process alive
  }
}

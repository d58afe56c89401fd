import { systemWords } from '../async/error-words.ts';
import type { ListeningSocket } from '../core/model/host.ts';
import { decodeListening } from '../host/sockets.ts';
import type { Exec } from '../ports/exec.ts';

/** A process that has a listening socket, as far as it is known. */
export type PortHolder = { readonly name: string; readonly pid: number | undefined };

type SocketLine = { readonly sockets: readonly ListeningSocket[]; readonly holders: readonly PortHolder[] };

const unknown: PortHolder = { name: 'an unknown process', pid: undefined };
const loopback: readonly string[] = ['127.0.0.1', '::1'];

/**
 * The listening TCP sockets that keep another process from listening on this port, each with the processes that have it
 * (one at least). `host`: an address, a wildcard, or `localhost`. Throws `ExecError` when `ss` fails.
 */
export async function findPortHolders(
  host: string,
  port: number,
  exec: Exec,
  signal: AbortSignal,
): Promise<readonly (readonly PortHolder[])[]> {
  const { stdout } = await exec.run('ss', ['-Hltnp'], { signal });
  const wanted = host === 'localhost' ? loopback : [host];
  const isAny = wanted.some((address) => wildcards.has(address));
  return stdout
    .split('\n')
    .map(readSocketLine)
    .filter(({ sockets }) =>
      sockets.some(
        (socket) =>
          socket.port === port && (isAny || socket.address === undefined || wanted.includes(socket.address.text)),
      ),
    )
    .map(({ holders }) => (holders.length === 0 ? [unknown] : holders));
}

const wildcards: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** `LISTEN 0 4096 127.0.0.1:9470 0.0.0.0:* users:(("node",pid=12,fd=18))`, of `ss -Hltnp`. */
function readSocketLine(line: string): SocketLine {
  const holders = [...line.matchAll(/\("([^"]*)",pid=(\d+)/g)].map(([, name = '', pid]) => ({
    name: name === 'MainThread' ? 'node' : name, // how Node.js names its thread
    pid: Number(pid),
  }));
  return { sockets: decodeListening(line, 'TCP'), holders };
}

/** `nc (PID 9)`. */
export function holderWords({ name, pid }: PortHolder): string {
  return pid === undefined ? name : `${name} (PID ${pid})`;
}

/** Why this process cannot listen on the address. `error`: of the attempt. */
export async function listenTrouble(
  { host, port }: { readonly host: string; readonly port: number },
  error: unknown,
  exec: Exec,
  signal: AbortSignal,
): Promise<string> {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (code === 'EADDRNOTAVAIL') return `this host has no address ${host}`;
  if (code === 'ENOTFOUND' || code.startsWith('EAI_')) return `the name ${host} cannot be resolved`;
  if (code !== 'EADDRINUSE') return `cannot listen on ${host}:${port} (${systemWords(error)})`;
  const [holders = []] = await findPortHolders(host, port, exec, signal).catch(() => []); // the port matters, not who has it
  return `port ${port} is held by ${holders.map(holderWords)[0] ?? 'another process'}`;
}

import path from 'node:path';
import type { Machine } from '../test/netns/net-lab.ts';

/** Towards the client, or from it. */
export type BulkWay = 'up' | 'down';

const seconds = 3;
const program = path.join(import.meta.dirname, 'hosts', 'bulk.pl');

/** A program on `server` that writes to each client (`down`), or reads from it, as fast as it can. */
export async function serveBulk(
  server: Machine,
  port: number,
  way: BulkWay,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const serving = server.execPort.spawn('perl', [program, 'serve', String(port), way], signal);
  for await (const line of serving.lines) if (line === 'serving') break;
  return serving;
}

/** Gbit/s of one connection to `address`, as `host:port`. */
export async function bulk(client: Machine, address: string, way: BulkWay, signal: AbortSignal): Promise<number> {
  const [host = '', port = ''] = address.split(':');
  const args = [program, host, port, way, String(seconds)];
  const { stdout } = await client.execPort.run('perl', args, { signal, timeoutMs: 30_000 });
  return (Number(stdout) * 8) / seconds / 1e9;
}

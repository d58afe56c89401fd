import path from 'node:path';
import type { Machine } from '../test/netns/net-lab.ts';

/** Towards the client, or from it. */
export type BulkWay = 'up' | 'down';

const seconds = 3;

/** A program on `server` that writes to each client (`down`), or reads from it, as fast as it can. */
export async function serveBulk(
  server: Machine,
  port: number,
  way: BulkWay,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const source = path.join(import.meta.dirname, 'hosts', 'bulk-server.ts');
  const serving = server.execPort.spawn(process.execPath, [source, String(port), way], signal);
  for await (const line of serving.lines) if (line === 'serving') break;
  return serving;
}

/** Gbit/s of one connection to `address`, as `host:port`. */
export async function bulk(client: Machine, address: string, way: BulkWay, signal: AbortSignal): Promise<number> {
  const source = path.join(import.meta.dirname, 'hosts', 'bulk-client.ts');
  const [host = '', port = ''] = address.split(':');
  const { stdout } = await client.execPort.run(process.execPath, [source, host, port, way, String(seconds)], {
    signal,
    timeoutMs: 30_000,
  });
  return (Number(stdout) * 8) / seconds / 1e9;
}

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Machine } from '../test/netns/net-lab.ts';

/** Answers every request at `ports` of these machines with 31 bytes, by an HAProxy on each. */
export async function serveHttp(
  machines: readonly Machine[],
  ports: readonly number[],
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), 'furiwake-bench-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const config = path.join(folder, 'node.cfg');
  await writeFile(
    config,
    `global
    maxconn 4000
defaults
    mode http
    timeout connect 1s
    timeout client 1m
    timeout server 1m
frontend answers
${ports.map((port) => `    bind :${port}\n`).join('')}    http-request return status 200 content-type text/plain string "0123456789012345678901234567890"
`,
  );
  for (const machine of machines) stack.use(machine.execPort.spawn('haproxy', ['-db', '-f', config], signal));
  return stack;
}

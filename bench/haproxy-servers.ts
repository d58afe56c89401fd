import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unixSockets } from '../src/dataplane/haproxy/runtime/client.ts';
import { haproxyFolder } from '../src/daemon/platform.ts';
import { systemClock } from '../src/main/node/clock.ts';
import { now } from './hosts/services.ts';
import type { Site } from './site.ts';

/** The files of HAProxy: those of 0.1.0 are in the state directory. */
export async function haproxyFolderOf({ folder, balancer }: Site['lab']): Promise<string> {
  const earlier = path.join(folder, 'state', 'haproxy');
  if (existsSync(earlier)) return earlier;
  const namespace = await balancer.exec('readlink', '/proc/self/ns/net');
  return haproxyFolder(`/run/furiwake/net-${/\d+/.exec(namespace)?.[0] ?? ''}`);
}

/** The servers of one backend of HAProxy. */
export type BackendServers = {
  /** Resolves with the time (ms) at which as many were first seen to take new connections; asks every millisecond. */
  readonly untilReady: (count: number) => Promise<number>;
};

/** Those of the Service with this nodePort, whose backend must be its own. */
export async function followServers(
  { lab }: Pick<Site, 'lab'>,
  nodePort: number,
  signal: AbortSignal,
): Promise<BackendServers> {
  const folder = await haproxyFolderOf(lab);
  const map = await readFile(path.join(folder, 'services.map'), 'utf8');
  const backend = map.split('\n').find((line) => line.includes(`|${nodePort}|`))?.split(/[ |]/)[2]; // prettier-ignore
  if (backend === undefined) throw new Error(`HAProxy serves nothing from nodePort ${nodePort}`);
  const sockets = unixSockets({ clock: systemClock });
  const within = AbortSignal.any([signal, AbortSignal.timeout(30_000)]);
  return {
    untilReady: async (count) => {
      for (;;) {
        const rows = await sockets.request(path.join(folder, 'worker.sock'), `show servers state ${backend}\n`, within);
        const at = now();
        if (rows.split('\n').filter(isReady).length === count) return at;
        await sleep(1, undefined, { signal: within });
      }
    },
  };
}

/** `be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state …`: running, and neither drained nor in maintenance. */
function isReady(row: string): boolean {
  const [, , , , , state, admin] = row.split(' ');
  return state === '2' && admin === '0';
}

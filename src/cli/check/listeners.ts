import { decodeListening } from '../../host/sockets.ts';
import { listenPort } from '../../dataplane/haproxy/config.ts';
import type { ListeningSocket } from '../../core/model/host.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import type { FoundHolder } from '../../daemon/host-lock.ts';
import { statePaths } from '../../daemon/platform.ts';
import type { RunOptions } from '../options.ts';
import { type Finding, ok, problem } from './finding.ts';

/** Who listens: a process, as far as it is known. */
type Owner = { readonly name: string; readonly pid: number | undefined };
type Listener = { readonly sockets: readonly ListeningSocket[]; readonly owners: readonly Owner[] };

type Deps = { readonly exec: Exec; readonly files: Files };
const loopback: readonly string[] = ['127.0.0.1', '::1'];

/** Whether the port on which HAProxy takes connections is free, or taken by the HAProxy of this state directory. */
export async function checkHaproxyPort(stateDir: string, { exec, files }: Deps, signal: AbortSignal): Promise<Finding> {
  const config = `${statePaths(stateDir).haproxy}/haproxy.cfg`;
  return checkPort({
    what: 'port of HAProxy',
    found: `127.0.0.1:${listenPort}`,
    listeners: listenersOn(await listenersOf(exec, signal), listenPort, loopback),
    isOurs: async ({ pid }) =>
      pid !== undefined && ((await files.read(`/proc/${pid}/cmdline`)) ?? '').split('\0').includes(config),
    advice:
      'stop that process. If it is a HAProxy of another state directory, run furiwake cleanup with that --state-dir',
  });
}

/** Whether the metrics address is free, or taken by `holder`, the furiwake that runs on this host. */
export async function checkMetricsPort(
  address: RunOptions['metricsAddress'],
  { exec }: Pick<Deps, 'exec'>,
  holder: FoundHolder,
  signal: AbortSignal,
): Promise<Finding> {
  const what = 'metrics address';
  if (address === undefined) return ok(what, 'none');
  const { host, port } = address;
  return checkPort({
    what,
    found: `${host.includes(':') ? `[${host}]` : host}:${port}`,
    listeners: listenersOn(await listenersOf(exec, signal), port, host === 'localhost' ? loopback : [host]),
    isOurs: async ({ pid }) => holder !== undefined && holder !== 'unknown' && pid === holder.pid,
    advice: 'stop that process, or choose another --metrics-address, or none',
  });
}

async function listenersOf(exec: Exec, signal: AbortSignal): Promise<readonly Listener[]> {
  return (await exec.run('ss', ['-Hltnp'], { signal })).stdout.split('\n').map(readListener);
}

async function checkPort({
  what,
  found,
  listeners,
  isOurs,
  advice,
}: {
  readonly what: string;
  readonly found: string;
  readonly listeners: readonly Listener[];
  readonly isOurs: (owner: Owner) => Promise<boolean>;
  readonly advice: string;
}): Promise<Finding> {
  for (const { owners } of listeners) {
    const ours = await Promise.all(owners.map(isOurs));
    if (ours.includes(true)) continue;
    const [{ name, pid } = { name: 'an unknown process', pid: undefined }] = owners;
    return problem(what, `${found} is held by ${name}${pid === undefined ? '' : ` (PID ${pid})`}`, advice);
  }
  return ok(what, `${found}, ${listeners.length === 0 ? 'free' : 'held by furiwake'}`);
}

/** `LISTEN 0 4096 127.0.0.1:9470 0.0.0.0:* users:(("node",pid=12,fd=18))`, of `ss -Hltnp`. */
function readListener(line: string): Listener {
  const owners = [...line.matchAll(/\("([^"]*)",pid=(\d+)/g)].map(([, name = '', pid]) => ({ name, pid: Number(pid) }));
  return { sockets: decodeListening(line), owners };
}

const wildcards: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** Those that keep another process from listening on one of these addresses. */
function listenersOn(listeners: readonly Listener[], port: number, addresses: readonly string[]): readonly Listener[] {
  const isAny = addresses.some((address) => wildcards.has(address));
  return listeners.filter(({ sockets }) =>
    sockets.some(
      (socket) =>
        socket.port === port && (isAny || socket.address === undefined || addresses.includes(socket.address.text)),
    ),
  );
}

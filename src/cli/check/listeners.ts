import { decodeListening } from '../../host/sockets.ts';
import { listenPort } from '../../dataplane/haproxy/config.ts';
import type { ListeningSocket } from '../../core/model/host.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import type { Holder } from '../../daemon/host-lock.ts';
import { statePaths } from '../../daemon/platform.ts';
import type { RunOptions } from '../options.ts';
import { type Finding, ok, wrong } from './finding.ts';

type Options = Pick<RunOptions, 'stateDir' | 'metricsAddress'>;
/** Who listens: a process, as far as it can be told. */
type Owner = { readonly name: string; readonly pid: number | undefined };
type Listener = { readonly sockets: readonly ListeningSocket[]; readonly owners: readonly Owner[] };

/** Whether the ports that furiwake itself needs are free, or its own already. */
export async function checkListeners(
  { stateDir, metricsAddress }: Options,
  { exec, files }: { readonly exec: Exec; readonly files: Files },
  holder: Holder | 'unknown' | undefined,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const { stdout } = await exec.run('ss', ['-Hltnp'], { signal });
  const listeners = stdout.split('\n').map(readListener);
  const config = `${statePaths(stateDir).haproxy}/haproxy.cfg`;
  const isOurHaproxy = async ({ pid }: Owner): Promise<boolean> =>
    pid !== undefined && ((await files.read(`/proc/${pid}/cmdline`)) ?? '').split('\0').includes(config);
  const isFuriwake = async ({ pid }: Owner): Promise<boolean> =>
    holder !== undefined && holder !== 'unknown' && pid === holder.pid;

  const loopback = ['127.0.0.1', '::1'];
  const findings = [
    await checkPort({
      what: 'port of HAProxy',
      found: `127.0.0.1:${listenPort}`,
      listeners: listenersOn(listeners, listenPort, loopback),
      isOurs: isOurHaproxy,
      advice:
        'end that process. If it is a HAProxy of another state directory, run furiwake cleanup with that --state-dir',
    }),
  ];
  if (metricsAddress === undefined) return findings;
  const { host, port } = metricsAddress;
  const metrics = await checkPort({
    what: 'metrics address',
    found: `${host.includes(':') ? `[${host}]` : host}:${port}`,
    listeners: listenersOn(listeners, port, host === 'localhost' ? loopback : [host]),
    isOurs: isFuriwake,
    advice: 'end that process, or choose another --metrics-address, or none',
  });
  return [...findings, metrics];
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
    return wrong(what, `${found} is held by ${name}${pid === undefined ? '' : ` (process ${pid})`}`, advice);
  }
  return ok(what, `${found} is ${listeners.length === 0 ? 'free' : 'ours'}`);
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

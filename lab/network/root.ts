import { spawn } from 'node:child_process';
import { mkdir, readlink, realpath, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { childOf } from '../machine/processes.ts';
import { run } from '../machine/run.ts';
import { until } from '../machine/until.ts';

/** Folders of the machine that a host sees as they are, with changes visible only to the host. */
const layered = ['/etc', '/opt', '/var/lib', '/var/log'];

export type Boot = {
  readonly name: string;
  /** Network namespace to be in, as a path. */
  readonly network: string;
  /** The host's folder, which keeps its changes below {@link layered}. */
  readonly folder: string;
  /** The program that is process 1: does nothing but reap. */
  readonly init: string;
  readonly env: Readonly<Record<string, string>>;
};

/** The command that runs `argv` inside the host whose process 1 is `initPid`. */
export function enter(initPid: number, argv: readonly string[]): readonly string[] {
  return ['nsenter', `--target=${initPid}`, '--mount', '--net', '--pid', '--uts', '--ipc', '--', ...argv];
}

/**
 * Starts a host: a process 1 with separate network, mount, process, hostname and IPC namespaces. When that process
 * ends, the kernel ends everything on the host and removes its mounts.
 *
 * ```
 *   /           the machine's          /run        empty
 *   /etc /opt /var/lib /var/log        the machine's, changes kept in the host's folder
 *   /sys        of the host's network  /proc       of the host's processes
 * ```
 *
 * @returns the process ID of process 1 on the machine.
 */
export async function boot(host: Boot, signal: AbortSignal): Promise<number> {
  const [init] = await Promise.all([startInit(host, signal), prepareFolder(host)]);
  const inside = (...argv: string[]): Promise<unknown> => run(enter(init, argv), { signal });
  // Copies of the machine's namespace mounts would keep other labs' networks alive.
  await inside('umount', '--recursive', '--lazy', '/run/netns');
  await inside('mount', '--all', '--fstab', path.join(host.folder, 'fstab'));
  await inside('mount', '--make-rshared', '/'); // kubelet and containers pass mounts to each other
  await inside('hostname', host.name);
  return init;
}

async function startInit(host: Boot, signal: AbortSignal): Promise<number> {
  const program = await realpath(host.init);
  signal.throwIfAborted();
  const argv = ['--mount', '--propagation', 'private', '--pid', '--fork', '--mount-proc', '--uts', '--ipc', host.init];
  const outer = spawn('nsenter', [`--net=${host.network}`, 'unshare', ...argv], {
    detached: true,
    stdio: 'ignore',
    env: host.env,
  });
  outer.once('error', () => undefined); // visible as a process that never appears
  outer.unref();
  return until(
    `${host.name} to start`,
    async () => {
      const pid = await childOf(outer.pid ?? 0);
      return pid !== undefined && (await readlink(`/proc/${pid}/exe`)) === program && pid;
    },
    { signal, everyMs: 5, timeoutMs: 10_000 },
  );
}

async function prepareFolder({ name, folder }: Boot): Promise<void> {
  await Promise.all(
    ['cgroup', 'home', ...layered.flatMap(layers)].map((sub) => mkdir(path.join(folder, sub), { recursive: true })),
  );
  await Promise.all([
    writeFile(path.join(folder, 'fstab'), fstab(folder)),
    writeFile(path.join(folder, 'etc', 'hostname'), `${name}\n`),
    writeFile(path.join(folder, 'etc', 'resolv.conf'), ''), // the machine's name servers are unreachable
  ]);
}

function layers(target: string): [upper: string, work: string] {
  const upper = target.slice(1).replaceAll('/', '-');
  return [upper, `.${upper}`];
}

/**
 * The host's mounts in order. Because of the source's name mount(8) does not confuse them with the machine's mounts.
 */
function fstab(folder: string): string {
  const overlays = layered.map((target) => {
    const [upper, work] = layers(target).map((sub) => path.join(folder, sub));
    return `host ${target} overlay lowerdir=${target},upperdir=${upper},workdir=${work} 0 0`;
  });
  const cgroup = path.join(folder, 'cgroup');
  const lines = [
    'host /run tmpfs mode=755 0 0',
    `/sys/fs/cgroup ${cgroup} none rbind 0 0`,
    'host /sys sysfs defaults 0 0',
    `${cgroup} /sys/fs/cgroup none rbind 0 0`,
    ...overlays,
  ];
  return `${lines.join('\n')}\n`;
}

import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { kubeconfigPath } from '../cluster/kubeconfig.ts';
import { LabError } from '../errors.ts';
import { readIfThere } from '../machine/files.ts';
import { lines } from '../machine/lines.ts';
import { type ProcessRef, isAlive, labVariable, processOf } from '../machine/processes.ts';
import { type Output, killQuietly, run } from '../machine/run.ts';
import { until } from '../machine/until.ts';
import type { HostPlan, Role } from './address-plan.ts';
import { type Part, startPart, stopPart } from './part.ts';
import { boot, enter } from './root.ts';
import { namespaceOf, namespacePath, rewire, setPlugged, setRoutes } from './wiring.ts';

export type ExecOptions = {
  readonly stdin?: string;
  /** Ends the command after this long; default 30,000 ms. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Added to the host's environment. */
  readonly env?: Readonly<Record<string, string>>;
};

/** A machine of the lab, controlled from outside. */
export type Host = {
  readonly name: string;
  readonly role: Role;
  readonly ip4: string;
  readonly ip6: string;
  /** Name of its network namespace. */
  readonly namespace: string;
  /** Its folder on the machine, with the same path on every host: for files from and to it. */
  readonly folder: string;
  /**
   * Runs a command to its end.
   * @throws ExecError unless the exit code is 0.
   */
  exec(argv: readonly string[], options?: ExecOptions): Promise<Output>;
  /** Runs a command and yields each line of its output as it arrives; the command ends with the iteration. */
  lines(argv: readonly string[], signal?: AbortSignal): AsyncGenerator<string, void, undefined>;
  /** Starts a long-running command, as the part `HOST-name`; it outlives this process if the lab is kept. */
  spawn(name: string, argv: readonly string[], options?: Pick<ExecOptions, 'env'>): Promise<Part>;
  /** Ends a part started by {@link spawn}: TERM, and KILL after ten seconds. */
  stop(name: string, signal?: AbortSignal): Promise<void>;
  /** The command line that runs `argv` here, for callers that spawn it themselves. */
  command(argv: readonly string[]): Promise<{ argv: readonly string[]; env: Readonly<Record<string, string>> }>;
  /** Pulls its network cable: no packet is sent or received, connections stay as they are. */
  cutNetwork(signal?: AbortSignal): Promise<void>;
  restoreNetwork(signal?: AbortSignal): Promise<void>;
  /** Adds routes (range → next hop); they are restored after a {@link reboot}, like those of an administrator. */
  addRoutes(routes: ReadonlyMap<string, string>): Promise<void>;
  /**
   * Power off and on: all processes, `/run`, other addresses and routes, and nft tables are lost; files below `/etc`,
   * `/opt`, `/var/lib`, `/var/log` and in {@link folder} stay. Starts no part again.
   */
  reboot(signal?: AbortSignal): Promise<void>;
};

export type HostDeps = {
  readonly lab: string;
  /** The lab's folder. */
  readonly folder: string;
  /** Ends every wait on the lab. */
  readonly signal: AbortSignal;
};

/** A host for the lab itself, which must start it first. */
export type OwnHost = Host & { boot(): Promise<void> };

export function makeHost(plan: HostPlan, { lab, folder, signal: labSignal }: HostDeps): OwnHost {
  const own = path.join(folder, 'hosts', plan.name);
  const env = environmentOf(plan, folder);
  const bin = path.join(folder, 'bin');
  const join = (signal?: AbortSignal): AbortSignal => (signal ? AbortSignal.any([signal, labSignal]) : labSignal);

  const bootHost = async (): Promise<void> => {
    const network = namespacePath(lab, plan.name);
    const pid = await boot({ name: plan.name, network, folder: own, init: path.join(bin, 'pause'), env }, labSignal);
    await writeFile(path.join(own, 'init.json'), JSON.stringify(await processOf(pid)));
  };
  const addRoutes = async (routes: Routes): Promise<void> => {
    const all = new Map([...(await readRoutes(own)), ...routes]);
    await writeFile(path.join(own, 'routes.json'), JSON.stringify([...all]));
    await setRoutes(lab, plan.name, all, labSignal);
  };
  const command = async (argv: readonly string[]): Promise<readonly string[]> => enter((await initOf(own)).pid, argv);
  const partName = (name: string): string => `${plan.name}-${name}`;

  return {
    name: plan.name,
    role: plan.role,
    ip4: plan.links[0].ip4,
    ip6: plan.links[0].ip6,
    namespace: namespaceOf(lab, plan.name),
    folder: own,
    boot: bootHost,
    command: async (argv) => ({ argv: await command(argv), env }),
    exec: async (argv, { signal, env: more, ...options } = {}) =>
      run(await command(argv), {
        ...options,
        signal: join(signal),
        env: { ...env, ...more },
        title: `${argv.join(' ')} (on ${plan.name})`,
      }),
    lines: async function* (argv, signal) {
      yield* lines(await command(argv), env, join(signal));
    },
    spawn: async (name, argv, { env: more } = {}) => {
      const entered = await command(argv);
      labSignal.throwIfAborted(); // no process is started on a lab that is being removed
      return startPart(folder, { name: partName(name), host: plan.name, argv, env: { ...env, ...more } }, entered);
    },
    stop: async (name, signal) => {
      await stopPart(folder, partName(name), join(signal));
    },
    cutNetwork: (signal) => setPlugged(lab, plan, false, join(signal)),
    restoreNetwork: (signal) => setPlugged(lab, plan, true, join(signal)),
    addRoutes,
    reboot: async (signal) => {
      await powerOff(own, join(signal));
      await rewire(lab, plan, join(signal));
      await bootHost();
      await addRoutes(new Map());
    },
  };
}

type Routes = ReadonlyMap<string, string>;

async function readRoutes(own: string): Promise<Routes> {
  const text = await readIfThere(path.join(own, 'routes.json'));
  return new Map(text === undefined ? [] : (JSON.parse(text) as [string, string][]));
}

/** @throws LabError `NO_SUCH_LAB` if the host does not run. */
async function initOf(own: string): Promise<ProcessRef> {
  const text = await readIfThere(path.join(own, 'init.json'));
  const init = text === undefined ? undefined : (JSON.parse(text) as ProcessRef);
  if (init !== undefined && (await isAlive(init))) return init;
  throw new LabError('NO_SUCH_LAB', `host ${path.basename(own)} of this lab does not run`);
}

async function powerOff(own: string, signal: AbortSignal): Promise<void> {
  const init = await initOf(own);
  killQuietly(init.pid);
  await until(`${path.basename(own)} to be off`, async () => !(await isAlive(init)), { signal, everyMs: 5 });
}

/** The environment of a program on the host: of this process's only PATH. */
function environmentOf(plan: HostPlan, folder: string): Readonly<Record<string, string>> {
  const own = path.join(folder, 'hosts', plan.name);
  return {
    [labVariable]: folder,
    HOME: path.join(own, 'home'),
    LANG: 'C.UTF-8',
    PATH: `${path.join(folder, 'bin')}:${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`,
    ...(plan.role === 'control-plane' ? { KUBECONFIG: kubeconfigPath(folder, 'admin') } : {}),
  };
}

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { systemExec } from '../../src/main/node/exec.ts';
import type { Exec } from '../../src/ports/exec.ts';
import type { Call, Outcome } from './agent-calls.ts';
import { ownPrefix, removeNamespaces, removeOrphans } from './orphans.ts';

const run = promisify(execFile);

/** One machine of the lab: a network namespace, and a small program inside it that executes the calls of a test. */
export type Machine = {
  /** Name of its network namespace. */
  readonly namespace: string;
  /** Runs a program inside; resolves with its standard output. */
  exec(file: string, ...args: readonly string[]): Promise<string>;
  /** Performs lines of `ip` inside, in one process. */
  ip(...lines: readonly string[]): Promise<void>;
  /** Loads an nft text inside. */
  nft(text: string): Promise<void>;
  /** Serves, dials, fetches inside: see {@link Call}. */
  ask(call: Call): Promise<Outcome>;
  /** The `Exec` port, with every program started inside. */
  readonly execPort: Exec;
  /** What a device has; /sys shows those of another machine. */
  device(name: string): Promise<{ readonly index: number; readonly mac: string; readonly mtu: number }>;
  /** Drops all packets to and from it, or accepts them again: a client gets no answer, not even a refusal. */
  setSilent(isSilent: boolean): Promise<void>;
};

export type Node = Machine & { readonly name: string; readonly ip4: string; readonly ip6: string };

/**
 * A client, a load-balancer host and some nodes, each in a network namespace:
 *
 *   client 10.10.0.2  ── veth ── 10.10.0.1  balancer  10.20.0.1 ── bridge ── n1 10.20.0.11, n2 10.20.0.12, …
 *          fd10::2               fd10::1              fd20::1                   fd20::11,      fd20::12
 *
 * The client routes 10.50.0.0/16 and fd50::/64 (the VIPs) to the load balancer, which has no configuration for them.
 */
export type NetLab = AsyncDisposable & {
  readonly client: Machine;
  readonly balancer: Machine;
  readonly nodes: readonly Node[];
  /** A folder that is removed with the lab. */
  readonly folder: string;
};

/** Builds a lab; needs root. Also removes the remains of labs whose tests were killed. */
export async function startNetLab(options: { readonly nodes: number }): Promise<NetLab> {
  const names = Array.from({ length: options.nodes }, (_, index) => `n${index + 1}`);
  const machines = await makeMachines(['c', 'l', ...names]);
  try {
    const folder = await mkdtemp(path.join(tmpdir(), `${machines.prefix}-`));
    // A program that is ending may still write a file.
    machines.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }));
    const [client, balancer] = [machines.get('c'), machines.get('l')];
    const nodes = names.map((name, index): Node => {
      const [ip4, ip6] = [`10.20.0.${11 + index}`, `fd20::${11 + index}`];
      return { ...machines.get(name), name, ip4, ip6 };
    });
    await balancer.ip(
      `link add wan type veth peer eth0 netns ${client.namespace}`,
      'link add lan type bridge',
      ...setUp('wan', '10.10.0.1/24', 'fd10::1/64'),
      ...setUp('lan', '10.20.0.1/24', 'fd20::1/64'),
      ...nodes.flatMap(({ name, namespace }) => [
        `link add ${name} type veth peer eth0 netns ${namespace}`,
        `link set ${name} master lan up`,
      ]),
    );
    await client.ip(
      ...setUp('eth0', '10.10.0.2/24', 'fd10::2/64'),
      'route add 10.50.0.0/16 via 10.10.0.1',
      'route add fd50::/64 via fd10::1',
    );
    await balancer.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    for (const node of nodes) await node.ip(...setUp('eth0', `${node.ip4}/24`, `${node.ip6}/64`));
    return { client, balancer, nodes, folder, [Symbol.asyncDispose]: () => machines[Symbol.asyncDispose]() };
  } catch (error) {
    await machines[Symbol.asyncDispose]();
    throw error;
  }
}

let nextLab = 1;

/** The machines of one lab, without links; disposing removes them, after what was deferred. */
export type Machines = AsyncDisposable & {
  /** Of the names of all that belongs to the lab. */
  readonly prefix: string;
  get(suffix: string): Machine;
  defer(end: () => Promise<void>): void;
};

/** Makes a machine for each of the suffixes. Also removes the remains of labs whose tests were killed. */
export async function makeMachines(suffixes: readonly string[]): Promise<Machines> {
  await removeOrphans();
  const prefix = `${ownPrefix}${nextLab++}`;
  const namespaces = suffixes.map((suffix) => `${prefix}-${suffix}`);
  const stack = new AsyncDisposableStack();
  stack.defer(() => removeNamespaces(namespaces));
  const machines = new Map(namespaces.map((namespace) => [namespace, machineIn(namespace, stack)]));
  try {
    await batch(namespaces.map((namespace) => `netns add ${namespace}`));
    for (const machine of machines.values()) await machine.ip('link set lo up');
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
  return {
    prefix,
    get: (suffix) => {
      const machine = machines.get(`${prefix}-${suffix}`);
      if (machine === undefined) throw new Error(`the lab has no machine ${suffix}`);
      return machine;
    },
    defer: (end) => stack.defer(end),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function machineIn(namespace: string, stack: AsyncDisposableStack): Machine {
  // `ip netns exec` would also make a mount namespace for each program.
  const inside = (file: string, args: readonly string[]): string[] => [`--net=/run/netns/${namespace}`, file, ...args];
  const exec = async (file: string, ...args: readonly string[]): Promise<string> =>
    (await run('nsenter', inside(file, args))).stdout;
  const execPort: Exec = {
    run: (file, args, runOptions) => systemExec.run('nsenter', inside(file, args), runOptions),
    spawn: (file, args, signal) => systemExec.spawn('nsenter', inside(file, args), signal),
  };
  const nft = async (text: string): Promise<void> => {
    await execPort.run('nft', ['-f', '-'], { stdin: text, signal: AbortSignal.timeout(30_000) });
  };
  const setSilent = (isSilent: boolean): Promise<void> =>
    nft(isSilent ? silence : `${silence}\ndelete table inet silence`);
  const device: Machine['device'] = async (name) => {
    const [link] = JSON.parse(await exec('ip', '-json', 'link', 'show', 'dev', name)) as {
      ifindex: number;
      address: string;
      mtu: number;
    }[];
    return { index: link?.ifindex ?? 0, mac: link?.address ?? '', mtu: link?.mtu ?? 0 };
  };
  return {
    namespace,
    exec,
    ip: (...lines) => batch(lines, '-n', namespace),
    nft,
    execPort,
    setSilent,
    device,
    ask: callAgent(inside, stack),
  };
}

const silence = `table inet silence {
  chain in { type filter hook input priority -300; policy drop; }
  chain out { type filter hook output priority -300; policy drop; }
}`;

/** The function that calls `agent.ts` inside; the first call starts it: on many machines nothing is asked. */
function callAgent(inside: Inside, stack: AsyncDisposableStack): Machine['ask'] {
  let agent: Machine['ask'] | undefined;
  return (call) => (agent ??= startAgent(inside, stack))(call);
}

type Inside = (file: string, args: readonly string[]) => readonly string[];

const program = fileURLToPath(new URL('agent.ts', import.meta.url));
/** With its compiled code it starts in half the time. */
const compiled = fileURLToPath(new URL('../../node_modules/.cache/furiwake', import.meta.url));

function startAgent(inside: Inside, stack: AsyncDisposableStack): Machine['ask'] {
  const child = spawn('nsenter', inside(process.execPath, [program]), {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NODE_COMPILE_CACHE: compiled },
  });
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
  });
  stack.defer(() => {
    child.stdin.end();
    return ended;
  });
  const waiting = new Map<number, (outcome: Outcome) => void>();
  let next = 1;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { number, outcome } = JSON.parse(line) as { number: number; outcome: Outcome };
    waiting.get(number)?.(outcome);
    waiting.delete(number);
  });
  return (call) =>
    new Promise((resolve, reject) => {
      const number = next++;
      waiting.set(number, resolve);
      child.stdin.write(`${JSON.stringify({ number, call })}\n`, (error) => {
        if (error) reject(error);
      });
    });
}

/** The lines of `ip` that give a device its addresses. */
export function setUp(device: string, ip4: string, ip6: string): readonly string[] {
  return [`address add ${ip4} dev ${device}`, `address add ${ip6} dev ${device} nodad`, `link set ${device} up`];
}

/** Performs lines of `ip` in one process. */
async function batch(lines: readonly string[], ...options: readonly string[]): Promise<void> {
  const stdin = lines.map((line) => `${line}\n`).join('');
  await systemExec.run('ip', [...options, '-batch', '-'], { stdin, signal: AbortSignal.timeout(30_000) });
}

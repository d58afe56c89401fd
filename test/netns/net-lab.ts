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
import { ownPrefix, removeNamespace, removeOrphans } from './orphans.ts';

const run = promisify(execFile);

/** One machine of the lab: a network namespace, and a small program inside it that executes the calls of a test. */
export type Machine = {
  /** Name of its network namespace. */
  readonly namespace: string;
  /** Runs a program inside; resolves with its standard output. */
  exec(file: string, ...args: readonly string[]): Promise<string>;
  /** Loads an nft text inside. */
  nft(text: string): Promise<void>;
  /** Serves, dials, fetches inside: see {@link Call}. */
  ask(call: Call): Promise<Outcome>;
  /** The `Exec` port, with every program started inside. */
  readonly execPort: Exec;
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
  await removeOrphans();
  const prefix = `${ownPrefix}${nextLab++}`;
  const folder = await mkdtemp(path.join(tmpdir(), `${prefix}-`));
  const stack = new AsyncDisposableStack();
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  try {
    const client = await startMachine(`${prefix}-c`, stack);
    const balancer = await startMachine(`${prefix}-l`, stack);
    await ip('-n', balancer.namespace, 'link', 'add', 'wan', 'type', 'veth', 'peer', 'eth0', 'netns', client.namespace);
    await ip('-n', balancer.namespace, 'link', 'add', 'lan', 'type', 'bridge');
    await setUp(balancer, 'wan', '10.10.0.1/24', 'fd10::1/64');
    await setUp(balancer, 'lan', '10.20.0.1/24', 'fd20::1/64');
    await setUp(client, 'eth0', '10.10.0.2/24', 'fd10::2/64');
    await ip('-n', client.namespace, 'route', 'add', '10.50.0.0/16', 'via', '10.10.0.1');
    await ip('-n', client.namespace, '-6', 'route', 'add', 'fd50::/64', 'via', 'fd10::1');
    await balancer.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    const nodes: Node[] = [];
    for (let index = 1; index <= options.nodes; index++) {
      const machine = await startMachine(`${prefix}-n${index}`, stack);
      const [ip4, ip6] = [`10.20.0.${10 + index}`, `fd20::${10 + index}`];
      const link = ['link', 'add', `n${index}`, 'type', 'veth', 'peer', 'eth0', 'netns', machine.namespace];
      await ip('-n', balancer.namespace, ...link);
      await ip('-n', balancer.namespace, 'link', 'set', `n${index}`, 'master', 'lan', 'up');
      await setUp(machine, 'eth0', `${ip4}/24`, `${ip6}/64`);
      nodes.push({ ...machine, name: `n${index}`, ip4, ip6 });
    }
    return { client, balancer, nodes, folder, [Symbol.asyncDispose]: () => stack.disposeAsync() };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

let nextLab = 1;

/** Makes machines with names of one lab; `dispose` removes them. Also removes the remains of labs whose tests were killed. */
export async function machineMaker(): Promise<{
  readonly make: (suffix: string) => Promise<Machine>;
  readonly setUp: typeof setUp;
  readonly ip: typeof ip;
  readonly dispose: () => Promise<void>;
}> {
  await removeOrphans();
  const prefix = `${ownPrefix}${nextLab++}`;
  const stack = new AsyncDisposableStack();
  return {
    make: (suffix) => startMachine(`${prefix}-${suffix}`, stack),
    setUp,
    ip,
    dispose: () => stack.disposeAsync(),
  };
}

async function startMachine(namespace: string, stack: AsyncDisposableStack): Promise<Machine> {
  await ip('netns', 'add', namespace);
  stack.defer(() => removeNamespace(namespace));
  await ip('-n', namespace, 'link', 'set', 'lo', 'up');
  const inside = (file: string, args: readonly string[]): string[] => ['netns', 'exec', namespace, file, ...args];
  const exec = async (file: string, ...args: readonly string[]): Promise<string> =>
    (await run('ip', inside(file, args))).stdout;
  const execPort: Exec = {
    run: (file, args, runOptions) => systemExec.run('ip', inside(file, args), runOptions),
    spawn: (file, args, signal) => systemExec.spawn('ip', inside(file, args), signal),
  };
  const nft = async (text: string): Promise<void> => {
    await execPort.run('nft', ['-f', '-'], { stdin: text, signal: AbortSignal.timeout(30_000) });
  };
  const setSilent = (isSilent: boolean): Promise<void> =>
    nft(isSilent ? silence : `${silence}\ndelete table inet silence`);
  return { namespace, exec, nft, execPort, setSilent, ask: callAgent(inside, stack) };
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
  const child = spawn('ip', inside(process.execPath, [program]), {
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

async function setUp(machine: Machine, device: string, ip4: string, ip6: string): Promise<void> {
  await ip('-n', machine.namespace, 'addr', 'add', ip4, 'dev', device);
  await ip('-n', machine.namespace, 'addr', 'add', ip6, 'dev', device, 'nodad');
  await ip('-n', machine.namespace, 'link', 'set', device, 'up');
}

async function ip(...args: readonly string[]): Promise<string> {
  return (await run('ip', args)).stdout;
}

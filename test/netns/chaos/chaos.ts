import { mkdir } from 'node:fs/promises';
import { startSimApiServer } from '../../sim/apiserver.ts';
import { seededRandom } from '../../sim/virtual-clock.ts';
import { makeClients } from './clients.ts';
import { pause, serviceNames, startCluster } from './cluster.ts';
import { type Fault, never, onMachine, type Random } from './fault.ts';
import { changesByHand } from './by-hand.ts';
import { hostFaults } from './host-faults.ts';
import { networkFaults } from './network-faults.ts';
import { installTools, toolFaults } from './tools.ts';
import { furiwakeFaults, kubeconfigOf } from './furiwake-faults.ts';
import { makeFuriwake } from './furiwake-process.ts';
import { pool, startChaosLab } from './lab.ts';
import { reboots } from './reboot.ts';
import { watchRates } from './rates.ts';
import { leftByCleanup, processesLeft, wrongWords } from './remains.ts';
import { untilSettled } from './settled.ts';
import { randomWish, userActions } from './users.ts';
import { makeWorld } from './world.ts';

export type ChaosOptions = {
  readonly seed: number;
  /** How many actions. */
  readonly steps: number;
  readonly hosts: 1 | 2;
  /** Only what must not break connections. */
  readonly isSoft: boolean;
  readonly isOwn: boolean;
  /** The steps that are made; default: all. */
  readonly only?: ReadonlySet<number> | undefined;
  /** The actions that there are; default: all. */
  readonly names?: ReadonlySet<string> | undefined;
  /** Each action begins when all is as wanted after the one before: the log has the time that each one costs. */
  readonly isAlone?: boolean;
  readonly tell: (words: string) => void;
};

const faults: Readonly<Record<string, Fault>> = {
  ...hostFaults,
  ...networkFaults,
  ...changesByHand,
  ...toolFaults,
  ...furiwakeFaults,
  ...reboots,
};

export function makeRandom(seed: number): Random {
  const random = seededRandom(seed);
  for (let i = 0; i < 5; i++) random();
  const int = (below: number): number => Math.floor(random() * below);
  return { int, pick: (from) => from[int(from.length)]! };
}

type Step = { readonly name: string; readonly afterMs: number; readonly lastsMs: number; readonly seed: number };

function scheduleOf({ seed, steps, hosts, isSoft, names: wanted, isAlone }: ChaosOptions): readonly Step[] {
  const random = makeRandom(seed);
  const all = Object.entries<Fault>({ ...faults, ...userActions }).filter(
    ([name, { kind }]) => wanted?.has(name) ?? (!isSoft || kind === 'soft'),
  );
  const names = all.flatMap(([name, { weight }]) => Array.from({ length: weight }, () => name));
  const rest = new Set<string>();
  /** Each of them once before any of them again. */
  const pickNext = (): string => {
    if (rest.size === 0) for (const [name] of all) rest.add(name);
    const name = random.pick([...rest]);
    rest.delete(name);
    return name;
  };
  return Array.from({ length: steps }, () => ({
    name: isAlone === true ? pickNext() : random.pick(names),
    afterMs: random.pick([0, 0, 100, 500, 1_500, 3_000]),
    lastsMs: random.pick(hosts > 1 ? [1_000, 3_000, 25_000] : [200, 1_000, 3_000, 6_000]),
    seed: random.int(1e9),
  }));
}

/** Makes the actions of a seed and resolves with what was wrong. */
export async function runChaos(options: ChaosOptions): Promise<readonly string[]> {
  const { seed, hosts: hostCount, tell } = options;
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startSimApiServer({ seed }));
  const lab = stack.use(await startChaosLab(server, { boxes: hostCount, nodes: 3 }));
  const cluster = stack.use(await startCluster(lab, server));
  const hosts = [];
  for (const box of lab.boxes) {
    const furiwake = makeFuriwake(
      box,
      {
        flags: [...(options.isOwn ? [] : ['--addresses', pool]), '--metrics-address', '127.0.0.1:9470'],
        path: await installTools(box),
      },
      tell,
    );
    await mkdir(furiwake.stateDir, { recursive: true });
    await onMachine('mount', '-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'none', furiwake.stateDir);
    stack.defer(() => onMachine('umount', '--lazy', furiwake.stateDir).then(() => undefined));
    stack.use(furiwake);
    await furiwake.writeKubeconfig(kubeconfigOf({ server, lab }));
    hosts.push({ box, furiwake });
  }
  const world = makeWorld({ lab, server, cluster, hosts, isOwn: options.isOwn }, tell);
  const stop = new AbortController();
  stack.defer(async () => stop.abort());
  const start = makeRandom(seed + 1);
  for (const name of serviceNames.slice(0, 4)) {
    const wish = randomWish(name, start, options.isOwn);
    cluster.set(name, wish);
    world.tell(`${name}: ${JSON.stringify(wish)}`);
  }
  const clients = makeClients(world);
  const rates = watchRates(world);
  const running = [clients.run(stop.signal), rates.run(stop.signal)];
  stack.defer(async () => {
    stop.abort();
    await Promise.all(running);
  });
  for (const { furiwake } of hosts) await furiwake.start();
  const atStart = await untilSettled(world, clients, 40_000);
  if (atStart.length > 0) return atStart.map((words) => `at the start: ${words}`);
  clients.noteStarted();
  world.tell('settled at the start');

  const ends = new Set<{ readonly atMs: number; readonly end: () => Promise<void>; readonly name: string }>();
  const touch = (name: string): void => {
    const { kind } = { ...faults, ...userActions }[name]!;
    if (kind === 'box' || (hostCount > 1 && name in faults)) world.touch('all', name);
    else if (kind === 'packets') world.touch('others', name);
    else if (kind === 'addresses') world.touch('addresses', name);
  };
  const finish = async (isAll: boolean): Promise<void> => {
    for (const each of ends) {
      if (!isAll && each.atMs > performance.now()) continue;
      ends.delete(each);
      world.tell(`end of ${each.name}`);
      touch(each.name);
      await each.end();
    }
  };
  for (const [index, { name, afterMs, lastsMs, seed: own }] of scheduleOf(options).entries()) {
    if (options.only !== undefined && !options.only.has(index)) continue;
    const until = performance.now() + afterMs;
    while (performance.now() < until) {
      await finish(false);
      await pause(50, never);
    }
    const fault: Fault = { ...faults, ...userActions }[name]!;
    world.tell(`${index}: ${name}`);
    touch(name);
    const end = await fault.apply(world, makeRandom(own));
    if (typeof end === 'function') ends.add({ atMs: performance.now() + lastsMs, end, name });
    if (options.isAlone !== true) continue;
    while (ends.size > 0) {
      await pause(50, never);
      await finish(false);
    }
    for (const words of await untilSettled(world, clients, 45_000)) world.wrong(`after ${name}: ${words}`);
    world.tell(`cost of ${name}: ${clients.takeLongestFailure()}`);
  }
  // What needs longer than that is another fault: a Lease that ends.
  const endMs = performance.now() + (hostCount > 1 && seed % 2 === 0 ? 25_000 : 0);
  while (ends.size > 0 && performance.now() < endMs) {
    await finish(false);
    await pause(50, never);
  }
  await finish(true);
  for (const { furiwake } of hosts) if (furiwake.pid === undefined) await furiwake.start();
  world.tell('healed');
  // A fault may show later than all seems settled.
  const lacks = [
    ...(await untilSettled(world, clients, 45_000)),
    ...(await rates.restless(40_000)),
    ...(await untilSettled(world, clients, 10_000)),
  ];
  const left = await processesLeft(world);
  stop.abort();
  await Promise.all(running);
  const remains = await leftByCleanup(world);
  return [...world.wrongs, ...rates.wrong, ...lacks, ...wrongWords(world), ...left, ...remains];
}

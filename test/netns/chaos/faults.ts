import { mkdir, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { systemExec } from '../../../src/main/node/exec.ts';
import type { Machine } from '../net-lab.ts';
import { pause } from './cluster.ts';
import { type Box, defaultRoutes } from './lab.ts';
import type { World } from './world.ts';
import type { FuriwakeProcess } from './furiwake-process.ts';

export type Random = {
  /** From 0 below `below`. */
  int(below: number): number;
  pick<T>(from: readonly T[]): T;
};

type Host = { readonly box: Box; readonly furiwake: FuriwakeProcess };

/** An action of an operator or of fate. `apply` resolves with what ends it, if it lasts. */
export type Fault = {
  readonly weight: number;
  /** `box`: it may break connections; `soft`: it must not. */
  readonly kind: 'soft' | 'box';
  apply(world: World, random: Random): Promise<(() => Promise<void>) | void>;
};

const never = new AbortController().signal;

export const onMachine = (file: string, ...args: readonly string[]): Promise<unknown> =>
  systemExec.run(file, args, { signal: AbortSignal.timeout(10_000) });

/** All processes with this name in the namespace of a machine. */
export async function processesOf(machine: Machine, name: string): Promise<readonly number[]> {
  const { ino } = await stat(`/run/netns/${machine.namespace}`);
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).filter((text) => /^\d+$/.test(text))) {
    if ((await readlink(`/proc/${pid}/ns/net`).catch(() => '')) !== `net:[${ino}]`) continue;
    if ((await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim() === name) found.push(Number(pid));
  }
  return found;
}

const hostOf = (world: World, random: Random): Host => random.pick(world.hosts);

const quietly = (work: Promise<unknown>): Promise<void> =>
  work.then(
    () => undefined,
    () => undefined,
  );

const kill = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal);
  } catch {
    // it has ended
  }
};

const box = (
  weight: number,
  apply: (host: Host, random: Random, world: World) => Promise<(() => Promise<void>) | void>,
): Fault => ({
  weight,
  kind: 'box',
  apply: (world, random) => apply(hostOf(world, random), random, world),
});
const soft = (weight: number, apply: Fault['apply']): Fault => ({ weight, kind: 'soft', apply });

/** Rules and elements of furiwake's tables, as commands of nft that delete them. */
async function deletions(machine: Machine): Promise<readonly string[]> {
  const json = JSON.parse(await machine.exec('nft', '-j', '-a', 'list', 'ruleset')) as {
    nftables: readonly Record<
      string,
      { family: string; table: string; name: string; chain: string; handle: number; elem?: readonly unknown[] }
    >[];
  };
  return json.nftables.flatMap(({ table, rule, chain, set, map }) => {
    if (table !== undefined) return table.name === 'furiwake' ? [`delete table ${table.family} furiwake`] : [];
    const of = rule ?? chain ?? set ?? map;
    if (of?.table !== 'furiwake') return [];
    const { family } = of;
    if (rule !== undefined) return [`delete rule ${family} furiwake ${rule.chain} handle ${rule.handle}`];
    if (chain !== undefined) return [`flush chain ${family} furiwake ${chain.name}`];
    const kind = set === undefined ? 'map' : 'set';
    return [`flush ${kind} ${family} furiwake ${of.name}`];
  });
}

const links = {
  down: async ({ box: machine }: Host): Promise<void> => machine.ip(`link set ${machine.link} down`),
  up: async ({ box: machine }: Host): Promise<void> => {
    await quietly(machine.exec('ip', 'link', 'set', machine.link, 'up'));
    await quietly(machine.exec('ip', 'address', 'add', `${machine.ip6}/64`, 'dev', machine.link, 'nodad'));
    for (const line of defaultRoutes) await quietly(machine.ip(line));
  },
};

async function restart({ furiwake }: Host, world: World, signal: 'SIGTERM' | 'SIGKILL', downMs: number): Promise<void> {
  const blind = world.blind();
  await furiwake.end(signal);
  await pause(downMs, never);
  if (furiwake.pid === undefined) await furiwake.start();
  void pause(5_000, never).then(() => blind[Symbol.dispose]());
}

export const faults: Readonly<Record<string, Fault>> = {
  'haproxy killed': box(3, async ({ box: machine }, random, world) => {
    const pids = await processesOf(machine, 'haproxy');
    const killed = random.int(2) === 0 ? pids : pids.slice(0, 1);
    world.tell(`  ${killed.join()} of ${pids.join()}`);
    for (const pid of killed) kill(pid, 'SIGKILL');
  }),
  'haproxy stopped': box(2, async ({ box: machine }) => {
    const pids = await processesOf(machine, 'haproxy');
    for (const pid of pids) kill(pid, 'SIGSTOP');
    return async () => pids.forEach((pid) => kill(pid, 'SIGCONT'));
  }),
  'haproxy signalled': box(1, async ({ box: machine }, random) => {
    for (const pid of await processesOf(machine, 'haproxy')) kill(pid, random.pick(['SIGTERM', 'SIGUSR1', 'SIGUSR2']));
  }),
  'file of haproxy removed': box(2, async ({ box: machine }, random, world) => {
    const names = await readdir(`${machine.runFolder}/haproxy`).catch(() => []);
    if (names.length === 0) return;
    const name = random.pick(names);
    world.tell(`  ${name} of ${names.join()}`);
    await rm(`${machine.runFolder}/haproxy/${name}`, { recursive: true, force: true });
  }),
  'run folder removed': box(2, async ({ box: machine }) => rm(machine.runFolder, { recursive: true, force: true })),
  'nft table deleted': box(2, async ({ box: machine }, random) => {
    const tables = (await deletions(machine)).filter((line) => line.startsWith('delete table'));
    if (tables.length > 0) await quietly(machine.nft(random.pick(tables)));
  }),
  'nft changed': box(3, async ({ box: machine }, random) => {
    const all = (await deletions(machine)).filter((line) => !line.startsWith('delete table'));
    if (all.length > 0) await quietly(machine.nft(random.pick(all)));
  }),
  'ruleset flushed': box(1, async ({ box: machine }) => machine.nft('flush ruleset')),
  'address removed': box(2, async ({ box: machine }, random) => {
    const lines = (await machine.exec('ip', '-oneline', 'address', 'show', 'dev', 'furiwake0').catch(() => '')).split(
      '\n',
    );
    const found = lines.map((line) => / inet6? (\S+)/.exec(line)?.[1]).filter((each) => each !== undefined);
    if (found.length > 0) await quietly(machine.exec('ip', 'address', 'del', random.pick(found), 'dev', 'furiwake0'));
  }),
  'dummy link deleted': box(1, async ({ box: machine }) => quietly(machine.exec('ip', 'link', 'del', 'furiwake0'))),
  'dummy link down': box(1, async ({ box: machine }) =>
    quietly(machine.exec('ip', 'link', 'set', 'furiwake0', 'down')),
  ),
  'link down': box(2, async (host) => {
    await links.down(host);
    return () => links.up(host);
  }),
  'link renamed': box(1, async (host) => {
    const { box: machine } = host;
    const name = machine.link === 'eth0' ? 'lan9' : 'eth0';
    await links.down(host);
    await machine.exec('ip', 'link', 'set', machine.link, 'name', name);
    machine.link = name;
    await links.up(host);
  }),
  'default route removed': box(1, async (host) => {
    await quietly(host.box.exec('ip', 'route', 'del', 'default'));
    return () => links.up(host);
  }),
  'routing rules removed': box(1, async ({ box: machine }) => {
    await quietly(machine.exec('ip', 'rule', 'flush'));
    await quietly(machine.exec('ip', '-6', 'rule', 'flush'));
    for (const family of ['-4', '-6']) {
      await quietly(machine.exec('ip', family, 'rule', 'add', 'from', 'all', 'lookup', 'main', 'pref', '32766'));
      await quietly(machine.exec('ip', family, 'rule', 'add', 'from', 'all', 'lookup', 'local', 'pref', '0'));
    }
  }),
  renumbered: box(1, async (host, random, world) => {
    const { box: machine } = host;
    const ip4 = `192.0.2.${30 + random.int(10)}`;
    if (machine.ip4 === ip4) return;
    await machine.exec('ip', 'address', 'del', `${machine.ip4}/24`, 'dev', machine.link);
    await machine.exec('ip', 'address', 'add', `${ip4}/24`, 'dev', machine.link);
    machine.ip4 = ip4;
    await links.up(host);
    // Its connections to the API server hang until furiwake gives them up.
    const blind = world.blind();
    void pause(15_000, never).then(() => blind[Symbol.dispose]());
  }),
  'conntrack flushed': box(1, async ({ box: machine }) => quietly(machine.exec('conntrack', '-F'))),

  'state removed': soft(2, async (world, random) => {
    const { furiwake } = hostOf(world, random);
    for (const name of await readdir(furiwake.stateDir).catch(() => []))
      await quietly(rm(`${furiwake.stateDir}/${name}`, { recursive: true, force: true }));
  }),
  'state read-only': soft(2, async (world, random) => {
    const { furiwake } = hostOf(world, random);
    await quietly(onMachine('mount', '-o', 'remount,ro', furiwake.stateDir));
    return () => quietly(onMachine('mount', '-o', 'remount,rw', furiwake.stateDir));
  }),
  'state full': soft(2, async (world, random) => {
    const { furiwake } = hostOf(world, random);
    await quietly(onMachine('dd', 'if=/dev/zero', `of=${furiwake.stateDir}/filler`, 'bs=4k', 'status=none'));
    return () => quietly(rm(`${furiwake.stateDir}/filler`, { force: true }));
  }),
  'state damaged': soft(2, async (world, random) => {
    const { furiwake } = hostOf(world, random);
    const names = (await readdir(furiwake.stateDir).catch(() => [])).filter((name) => name.endsWith('.jsonl'));
    if (names.length === 0) return;
    const path = `${furiwake.stateDir}/${random.pick(names)}`;
    const text = await readFile(path, 'utf8').catch(() => '');
    const damaged = random.pick([text.slice(0, Math.floor(text.length / 2)), '\0\0\0', `${text}{"x":`, '']);
    await quietly(writeFile(path, damaged));
  }),
  'furiwake killed': soft(4, async (world, random) =>
    restart(hostOf(world, random), world, 'SIGKILL', random.int(3_000)),
  ),
  'furiwake restarted': soft(2, async (world, random) =>
    restart(hostOf(world, random), world, 'SIGTERM', random.int(500)),
  ),
  'furiwake hung up': soft(1, async (world, random) => hostOf(world, random).furiwake.signal('SIGHUP')),
  'furiwake stopped': soft(1, async (world, random) => {
    const { furiwake } = hostOf(world, random);
    const blind = world.blind();
    furiwake.signal('SIGSTOP');
    return async () => {
      furiwake.signal('SIGCONT');
      blind[Symbol.dispose]();
    };
  }),
  'API away': soft(2, async (world) => {
    const blind = world.blind();
    world.server.faults.isDown = true;
    world.server.faults.resetConnections();
    return async () => {
      world.server.faults.isDown = false;
      blind[Symbol.dispose]();
    };
  }),
  'API silent': soft(2, async (world) => {
    const blind = world.blind();
    await world.lab.router.nft(silence);
    return async () => {
      await quietly(world.lab.router.nft('delete table inet silent'));
      blind[Symbol.dispose]();
    };
  }),
  'API slow': soft(1, async (world, random) => {
    const blind = world.blind();
    world.server.faults.slowMs = 200 + random.int(2_000);
    return async () => {
      world.server.faults.slowMs = 0;
      blind[Symbol.dispose]();
    };
  }),
  'API refuses': soft(3, async ({ server }, random) => {
    const answer = random.pick([401, 403, 404, 409, 422, 429, 500, 503]);
    const verbs = random.pick([
      ['apply'],
      ['patch'],
      ['update'],
      ['apply', 'patch', 'update', 'create'],
      ['list', 'watch'],
    ]);
    server.faults.next({ mishap: { answer }, times: 1 + random.int(6), on: ({ verb }) => verbs.includes(verb) });
  }),
  'API answers lost': soft(1, async ({ server }, random) => {
    server.faults.next({
      mishap: random.pick(['lost-answer', 'reset', 'hang', 'garbage', 'end-at-once']),
      times: 1 + random.int(3),
    });
  }),
  'watches end': soft(2, async ({ server }, random) => {
    random.pick([
      () => server.faults.endWatches(),
      () => server.faults.failWatches(410),
      () => server.faults.truncateWatches(),
      () => server.faults.restart(),
    ])();
  }),
  'etcd restored': soft(1, async (world, random) => {
    const blind = world.blind();
    const restore = world.server.backup();
    await pause(1_000 + random.int(4_000), never);
    restore();
    for (const name of world.cluster.wishes.keys()) world.touch(name, 'etcd restored');
    world.cluster.restore();
    void pause(5_000, never).then(() => blind[Symbol.dispose]());
  }),
  'kubeconfig replaced': soft(1, async (world, random) => {
    const { furiwake, box: machine } = hostOf(world, random);
    await furiwake.writeKubeconfig('{');
    return async () => {
      await mkdir(machine.folder, { recursive: true });
      await furiwake.writeKubeconfig(kubeconfigOf(world));
      furiwake.signal('SIGHUP');
    };
  }),
};

export function kubeconfigOf({ server, lab }: Pick<World, 'server' | 'lab'>): string {
  return server.kubeconfig().replaceAll(server.url, lab.apiUrl);
}

const silence = `table inet silent {
  chain in { type filter hook input priority -300; tcp dport 6443 drop; }
}`;

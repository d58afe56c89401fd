import { readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import type { Machine } from '../net-lab.ts';
import { pause } from './cluster.ts';
import { type Fault, type Host, hostOf, never, quietly, type Random } from './fault.ts';
import { defaultRoutes } from './lab.ts';
import type { World } from './world.ts';

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

/** Of the load-balancer host. */
export const hostFaults: Readonly<Record<string, Fault>> = {
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
};

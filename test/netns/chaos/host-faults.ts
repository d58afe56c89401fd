import { readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import type { Machine } from '../net-lab.ts';
import { addresses, box, packets, type Fault, quietly } from './fault.ts';

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

export const kill = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal);
  } catch {
    // it has ended
  }
};

const isOurs = (table: string): boolean => table.startsWith('furiwake');

/** Rules and elements of furiwake's tables, as commands of nft that delete them. */
async function deletions(machine: Machine): Promise<readonly string[]> {
  const json = JSON.parse(await machine.exec('nft', '-j', '-a', 'list', 'ruleset')) as {
    nftables: readonly Record<
      string,
      { family: string; table: string; name: string; chain: string; handle: number; elem?: readonly unknown[] }
    >[];
  };
  return json.nftables.flatMap(({ table, rule, chain, set, map }) => {
    if (table !== undefined) return isOurs(table.name) ? [`delete table ${table.family} ${table.name}`] : [];
    const of = rule ?? chain ?? set ?? map;
    if (of === undefined || !isOurs(of.table)) return [];
    const within = `${of.family} ${of.table}`;
    if (rule !== undefined) return [`delete rule ${within} ${rule.chain} handle ${rule.handle}`];
    if (chain !== undefined) return [`flush chain ${within} ${chain.name}`];
    const kind = set === undefined ? 'map' : 'set';
    return [`flush ${kind} ${within} ${of.name}`];
  });
}

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
  'file of haproxy removed': addresses(2, async ({ box: machine }, random, world) => {
    const names = await readdir(`${machine.runFolder}/haproxy`).catch(() => []);
    if (names.length === 0) return;
    const name = random.pick(names);
    world.tell(`  ${name} of ${names.join()}`);
    await rm(`${machine.runFolder}/haproxy/${name}`, { recursive: true, force: true });
  }),
  'run folder removed': addresses(2, async ({ box: machine }) =>
    rm(machine.runFolder, { recursive: true, force: true }),
  ),
  'nft table deleted': packets(2, async ({ box: machine }, random) => {
    const tables = (await deletions(machine)).filter((line) => line.startsWith('delete table'));
    if (tables.length > 0) await quietly(machine.nft(random.pick(tables)));
  }),
  'nft changed': packets(3, async ({ box: machine }, random) => {
    const all = (await deletions(machine)).filter((line) => !line.startsWith('delete table'));
    if (all.length > 0) await quietly(machine.nft(random.pick(all)));
  }),
  'ruleset flushed': packets(1, async ({ box: machine }) => machine.nft('flush ruleset')),
};

import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { pause } from './cluster.ts';
import { type Fault, type Host, hostOf, never, onMachine, quietly } from './fault.ts';
import { type FuriwakeProcess, skewFileOf } from './furiwake-process.ts';
import type { World } from './world.ts';

const otherFlags: readonly (readonly string[])[] = [
  ['--addresses', '192.0.2.100-192.0.2.103,2001:db8::100-2001:db8::101'],
  ['--addresses', 'web=192.0.2.100-192.0.2.105,192.0.2.106-192.0.2.119,2001:db8::100-2001:db8::10f'],
  ['--idle-timeout', '60'],
  ['--node-silence-timeout', '5'],
  ['--default-annotation', 'furiwake.dev/dataplane=haproxy'],
  ['--default-annotation', 'furiwake.dev/balance=leastconn'],
];

const soft = (weight: number, apply: Fault['apply']): Fault => ({ weight, kind: 'soft', apply });

export async function restart(
  { furiwake }: Host,
  world: World,
  signal: 'SIGTERM' | 'SIGKILL',
  whileDown: () => Promise<void>,
): Promise<void> {
  const blind = world.blind();
  await furiwake.end(signal);
  await whileDown();
  if (furiwake.pid === undefined) await furiwake.start();
  void untilReady(furiwake).then(async () => {
    await pause(5_000, never);
    blind[Symbol.dispose]();
  });
}

/** On a busy machine a start takes seconds. */
async function untilReady(furiwake: FuriwakeProcess): Promise<void> {
  const endMs = performance.now() + 60_000;
  while (performance.now() < endMs && (await furiwake.status())?.notReady.length !== 0) await pause(500, never);
}

/** Of furiwake, its disk and the API server: they break no connection. */
export const furiwakeFaults: Readonly<Record<string, Fault>> = {
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
    // In vain while the file system is read-only.
    const free = (attempts: number): Promise<void> =>
      rm(`${furiwake.stateDir}/filler`, { force: true }).catch(async () => {
        await pause(300, never);
        if (attempts > 1) await free(attempts - 1);
      });
    return async () => void free(100);
  }),
  'state damaged': soft(2, async (world, random) => {
    const { furiwake } = hostOf(world, random);
    const names = (await readdir(furiwake.stateDir).catch(() => [])).filter((name) => name.endsWith('.jsonl'));
    if (names.length === 0) return;
    const path = `${furiwake.stateDir}/${random.pick(names)}`;
    const text = await readFile(path, 'utf8').catch(() => '');
    const damaged = random.pick([
      text.slice(0, Math.floor(text.length / 2)),
      '\0\0\0',
      `${text}{"x":`,
      '',
      text.replaceAll(/(?<=\n.*)\d/g, '9'), // a version that it does not know is that of a newer release
    ]);
    await quietly(writeFile(path, damaged));
  }),
  'furiwake killed': soft(4, async (world, random) =>
    restart(hostOf(world, random), world, 'SIGKILL', () => pause(random.int(3_000), never)),
  ),
  'furiwake restarted': soft(2, async (world, random) =>
    restart(hostOf(world, random), world, 'SIGTERM', () => pause(random.int(500), never)),
  ),
  'furiwake restarted with other flags': soft(2, async (world, random) => {
    const host = hostOf(world, random);
    const { furiwake } = host;
    const before = furiwake.flags;
    const more = random.pick(otherFlags);
    world.tell(`  ${more.join(' ')}`);
    furiwake.flags = [...before, ...(world.isOwn && more[0] === '--addresses' ? [] : more)];
    await restart(host, world, 'SIGTERM', () => pause(random.int(500), never));
    return async () => {
      furiwake.flags = before;
      await restart(host, world, random.pick(['SIGTERM', 'SIGKILL']), () => pause(random.int(500), never));
    };
  }),
  'another furiwake started': soft(1, async (world, random) => {
    const { furiwake } = hostOf(world, random);
    if (furiwake.pid === undefined) return;
    const stateDir = random.pick([furiwake.stateDir, `${furiwake.stateDir}2`]);
    const name = random.pick(['run', 'cleanup']);
    const { code, text } = await furiwake.command(name, '--kubeconfig', furiwake.kubeconfig, '--state-dir', stateDir);
    world.tell(`  ${name} ${stateDir}: ${code}, ${text.trim().split('\n').at(-1)}`);
    if (code !== 1 && furiwake.pid !== undefined) world.wrong(`another furiwake (${name}) ended with ${code}`);
  }),
  'clock jumps': soft(2, async (world, random) => {
    const { box: machine } = hostOf(world, random);
    const byMs = random.pick([3_600_000, -3_600_000, 90_000, -90_000, 86_400_000 * 400]);
    world.tell(`  ${byMs} ms`);
    await writeFile(skewFileOf(machine), String(byMs));
    return () => rm(skewFileOf(machine), { force: true });
  }),
  'furiwake hung up': soft(1, async (world, random) => {
    await hangUp(hostOf(world, random).furiwake);
  }),
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
  'API refuses': soft(3, async (world, random) => {
    const answer = random.pick([401, 403, 404, 409, 422, 429, 500, 503]);
    const verbs = random.pick([
      ['apply'],
      ['patch'],
      ['update'],
      ['apply', 'patch', 'update', 'create'],
      ['list', 'watch'],
    ]);
    const times = 1 + random.int(6);
    world.tell(`  ${verbs.join()} with ${answer}, ${times} times`);
    world.server.faults.next({ mishap: { answer }, times, on: ({ verb }) => verbs.includes(verb) });
    // One that starts now sees nothing until it can take its Lease.
    const blind = world.blind();
    void pause(times * 3_000, never).then(() => blind[Symbol.dispose]());
  }),
  'API answers lost': soft(1, async (world, random) => {
    const [mishap, times] = [
      random.pick(['lost-answer', 'reset', 'hang', 'garbage', 'end-at-once'] as const),
      1 + random.int(3),
    ];
    world.server.faults.next({ mishap, times });
    if (mishap !== 'hang') return;
    const blind = world.blind();
    void pause(times * 13_000, never).then(() => blind[Symbol.dispose]());
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
      await hangUp(furiwake);
    };
  }),
};

/** Not a process that has just begun, which the signal ends. */
async function hangUp(furiwake: FuriwakeProcess): Promise<void> {
  if ((await furiwake.status()) !== undefined) furiwake.signal('SIGHUP');
}

export function kubeconfigOf({ server, lab }: Pick<World, 'server' | 'lab'>): string {
  return server.kubeconfig().replaceAll(server.url, lab.apiUrl);
}

const silence = `table inet silent {
  chain in { type filter hook input priority -300; tcp dport 6443 drop; }
}`;

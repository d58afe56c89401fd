import type { Clients } from './clients.ts';
import { pause, serviceNames } from './cluster.ts';
import { isOfPool } from './lab.ts';
import { slowness } from './slowness.ts';
import type { World } from './world.ts';
import { shownCondition, shownIps } from '../../sim/shown-status.ts';

/** Resolves with what is not as wanted after this time, each a sentence. */
export async function untilSettled(world: World, clients: Clients, withinMs: number): Promise<readonly string[]> {
  const startMs = performance.now();
  const mostMs = withinMs * slowness(2);
  let found: readonly string[] = [];
  while (performance.now() - startMs < mostMs) {
    found = await lacksNow(world, clients);
    if (found.length === 0) {
      world.tell(`settled after ${Math.round(performance.now() - startMs)} ms`);
      return [];
    }
    await pause(500, new AbortController().signal);
  }
  return found.map((words) => `not settled: ${words}`);
}

async function lacksNow(world: World, clients: Clients): Promise<readonly string[]> {
  const { server, cluster, hosts } = world;
  const lacks: string[] = [];
  for (const name of serviceNames) {
    const key = `default/${name}`;
    const [wish, object] = [cluster.wishes.get(name), server.get('Service', key)];
    if (wish === undefined) {
      if (object !== undefined) lacks.push(`${name} is not released`);
      continue;
    }
    const ips = shownIps(server, key);
    const finalizers = object?.metadata.finalizers ?? [];
    if (wish.isClusterIp === true) {
      if (ips.length + finalizers.length > 0)
        lacks.push(`${name} is of type ClusterIP, and has ${ips.join()} ${finalizers.join()}`);
      continue;
    }
    if (wish.annotations !== undefined) continue; // its status says what it may say
    if (ips.length !== (wish.families ?? ['IPv4']).length) lacks.push(`${name} shows the addresses ${ips.join()}`);
    const condition = shownCondition(server, key, 'Serving');
    const isServed = wish.endpoints.length > 0;
    if ((condition?.status === 'True') !== isServed)
      lacks.push(
        `${name} has ${wish.endpoints.length} nodes, and its condition ${condition?.reason}: ${condition?.message}`,
      );
  }
  const statuses = await Promise.all(hosts.map(({ furiwake }) => furiwake.status()));
  const shown = statuses.map((status) => status?.notReady.join('; ') ?? 'no answer');
  if (shown.filter((words) => words === '').length !== 1) lacks.push(`readiness: ${JSON.stringify(shown)}`);
  lacks.push(...(world.isOwn ? ownLacks(world) : await addressLacks(world)));
  if (lacks.length > 0) return lacks;
  const asked = clients
    .targets()
    .filter(
      ({ service }) =>
        cluster.wishes.get(service)?.annotations === undefined && cluster.wishes.get(service)?.isClusterIp !== true,
    );
  const answers = await Promise.all(asked.map((target) => clients.ask(target)));
  for (const [index, target] of asked.entries()) {
    const isServed = answers[index]?.startsWith(`${target.service} `) === true;
    if (isServed !== (world.expects(target) === 'served'))
      lacks.push(`${target.service} ${target.ip} ${target.port}/${target.protocol}: ${answers[index]}`);
  }
  const released = clients.released();
  const others = await Promise.all(released.map((target) => clients.ask(target)));
  for (const [index, { ip, port }] of released.entries())
    if (/^s\d /.test(others[index] ?? ''))
      lacks.push(`${ip} ${port} belongs to no Service, and answers ${others[index]}`);
  return lacks;
}

/** Services have followed the host to its address of now. */
function ownLacks({ server, hosts }: World): readonly string[] {
  const own = hosts[0]?.box.ip4;
  const shown = serviceNames.flatMap((name) => shownIps(server, `default/${name}`).map((ip) => [name, ip] as const));
  return shown.filter(([, ip]) => ip !== own).map(([name, ip]) => `${name} shows ${ip}, and the host has ${own}`);
}

/** Each address that a Service shows is on one host, and no other address of the pool is on any. */
async function addressLacks({ server, hosts }: World): Promise<readonly string[]> {
  const wanted = new Set(serviceNames.flatMap((name) => shownIps(server, `default/${name}`)));
  const has = new Map<string, string[]>();
  for (const { box } of hosts) {
    const text = await box.exec('ip', '-oneline', 'address');
    for (const [, address = ''] of text.matchAll(/ inet6? ([^/ ]+)/g))
      if (isOfPool(address)) has.set(address, [...(has.get(address) ?? []), box.name]);
  }
  return [
    ...[...wanted].filter((address) => !has.has(address)).map((address) => `no host has ${address}`),
    ...[...has]
      .filter(([address]) => !wanted.has(address))
      .map(([address, on]) => `${on.join()} has ${address}, which no Service has`),
    ...[...has].filter(([, on]) => on.length > 1).map(([address, on]) => `${on.join()} have ${address}`),
  ];
}

import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, Context, Figure } from './bench.ts';
import { readChildrenCpuMs, readCpuMs } from './furiwake.ts';
import { followServers } from './haproxy-servers.ts';
import { nodeAddresses, standForNodes } from './simulated-nodes.ts';
import { type Site, startSite } from './site.ts';
import { median, quantile } from './statistics.ts';
import { type Elements, listenerAt, watchElements } from './watch-elements.ts';

const services = 10_000;
/** As many as HAProxy has backends for after five reloads; later ones wait, by a minute and more. */
const localServices = 500;
const changes = 40;
const firstPort = 1_000;
/** A part whose audit takes 300 ms of processor time is audited once in it, and checked ten times. */
const idleSeconds = 300;
/** After its start furiwake collects garbage; 30 s after it the first audits are made. */
const [startMs, auditsMs] = [20_000, 25_000];

/** How a Service of each dataplane changes, and the element that the kernel has then. */
const ways = {
  haproxy: 'port',
  nat: 'port',
  // A new port of direct waits for kube-proxy. The ranges of a Service are a set of which nft 1.0.6 cannot print changes.
  direct: 'affinity',
} as const;

/**
 *   1. one Service changed among 10,000, on each dataplane: from the API server's event until `nft monitor` prints the element
 *   2. 300 idle seconds after a restart: processor time of furiwake, and of the programs that it starts
 *   3. one endpoint changed among 500 Services with nodes of their own (`externalTrafficPolicy: Local`) on HAProxy: from the API
 *      server's event until HAProxy sends the backend's connections to the nodes that are left
 */
export const endpoints: Bench = {
  name: 'endpoints',
  title: `one Service changed among ${services} on each dataplane; one endpoint among ${localServices} backends; idleness`,
  run: async (context) => {
    const figures: Figure[] = [];
    for (const way of ['haproxy', 'nat', 'direct'] as const) figures.push(...(await measureServices(context, way)));
    return [...figures, ...(await measureEndpoints(context))];
  },
};

async function measureServices(
  { bundle, progress, signal }: Context,
  way: keyof typeof ways,
): Promise<readonly Figure[]> {
  using step = progress.step(`Making the Services of ${way}`);
  const nodes = nodeAddresses(10);
  const features = { annotations: { 'furiwake.dev/dataplane': way } };
  await using site = await startSite({ services, features, nodes, nodePort: 20_000, machines: 1, bundle, signal });
  await using _nodes = await standForNodes(site, nodes, signal);
  const inForce = await measureChanges(site, way, signal);
  step.update(`idle for ${idleSeconds} s`);
  const idle = await measureIdleness(site, signal);
  step.done();
  return [
    {
      what: `${way}: one Service changed (${ways[way]}) → in force, median`,
      value: median(inForce),
      unit: 'ms',
      target: { atMost: 10 },
    },
    { what: `${way}: the same, p90`, value: quantile(inForce, 0.9), unit: 'ms' },
    { what: `${way}: an idle second, furiwake`, value: idle.own, unit: 'ms', target: { atMost: 1 } },
    { what: `${way}: an idle second, programs that it starts`, value: idle.children, unit: 'ms' },
    { what: `${way}: audits of all parts, once, furiwake`, value: idle.audits, unit: 'ms' },
  ];
}

/** The times from the event of one changed Service until it is in force. */
async function measureChanges(site: Site, way: keyof typeof ways, signal: AbortSignal): Promise<readonly number[]> {
  await using _furiwake = site.startFuriwake();
  await site.ask({ do: 'awaitAddresses' });
  await using elements = watchElements(site.lab.balancer.execPort, signal);
  const change = (index: number): Promise<number> => changeOne(site, elements, ways[way], index);
  await startFollowing(elements, change);
  const inForce: number[] = [];
  for (let index = 1; index <= changes; index++) inForce.push(await change(index));
  return inForce;
}

/** The time (ms) from the change until the kernel has it. Each change is that of another Service. */
async function changeOne(site: Site, elements: Elements, what: 'port' | 'affinity', index: number): Promise<number> {
  const service = `service-${index}`;
  const port = firstPort + index;
  const added = elements.added(what === 'port' ? listenerAt(port) : /^add element netdev furiwake affine \{/);
  const { changedAt } = await site.ask(
    what === 'port' ? { do: 'changePort', service, port } : { do: 'setAffinity', service },
  );
  return (await added) - changedAt;
}

async function startFollowing(elements: Elements, change: (index: number) => Promise<unknown>): Promise<void> {
  for (let index = changes + 1; !elements.isFollowing(); index++) {
    const made = change(index);
    made.catch(() => undefined); // not followed yet
    await Promise.race([made, sleep(1_000)]);
  }
}

/** Milliseconds of processor time: in a second, and of the audits of all parts. */
async function measureIdleness(
  site: Site,
  signal: AbortSignal,
): Promise<{ readonly own: number; readonly children: number; readonly audits: number }> {
  await using furiwake = site.startFuriwake(); // without the Events of all Services, of which one is sent each second
  await site.measure('await-metric.ts', 'furiwake_ready', '1');
  await sleep(startMs, undefined, { signal });
  const atStart = await readCpuMs(furiwake.pid);
  await sleep(auditsMs, undefined, { signal });
  const read = (): Promise<readonly [number, number]> =>
    Promise.all([readCpuMs(furiwake.pid), readChildrenCpuMs(furiwake.pid)]);
  const before = await read();
  await sleep(idleSeconds * 1_000, undefined, { signal });
  const after = await read();
  const own = (after[0] - before[0]) / idleSeconds;
  return {
    own,
    children: (after[1] - before[1]) / idleSeconds,
    audits: before[0] - atStart - (own * auditsMs) / 1_000,
  };
}

async function measureEndpoints({ bundle, progress, signal }: Context): Promise<readonly Figure[]> {
  using step = progress.step(`Making ${localServices} Services with nodes of their own`);
  const nodes = nodeAddresses(3);
  const features = {
    annotations: { 'furiwake.dev/dataplane': 'haproxy' },
    spec: { externalTrafficPolicy: 'Local' },
    endpoints: 3,
  };
  await using site = await startSite({
    services: localServices,
    features,
    nodes,
    nodePort: 20_000,
    machines: 1,
    bundle,
    signal,
  });
  await using _nodes = await standForNodes(site, nodes, signal);
  await using _furiwake = site.startFuriwake();
  await site.ask({ do: 'awaitAddresses' });
  step.update('removing one endpoint after the other');
  const inForce: number[] = [];
  for (let index = 0; index < changes; index++) {
    const servers = await followServers(site, 20_000 + index, signal);
    await servers.untilReady(3);
    const left = servers.untilReady(2);
    const { changedAt } = await site.ask({ do: 'setEndpoints', service: `service-${index}`, count: 2 });
    inForce.push((await left) - changedAt);
  }
  step.done();
  return [
    {
      what: 'one endpoint gone → in force in HAProxy, median',
      value: median(inForce),
      unit: 'ms',
      target: { atMost: 10 },
    },
    { what: 'the same, p90', value: quantile(inForce, 0.9), unit: 'ms' },
  ];
}

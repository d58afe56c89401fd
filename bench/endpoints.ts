import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, Context, Figure } from './bench.ts';
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
/** How a Service of each dataplane changes, and the element that the kernel has then. */
const ways = {
  haproxy: 'port',
  nat: 'port',
  // A new port of direct waits for kube-proxy. The ranges of a Service are a set of which nft 1.0.6 cannot print changes.
  direct: 'affinity',
} as const;

/**
 *   1. one Service changed among 10,000, on each dataplane: from the API server's event until `nft monitor` prints the element
 *   2. one endpoint changed among 500 Services with nodes of their own (`externalTrafficPolicy: Local`) on HAProxy: from the API
 *      server's event until HAProxy sends the backend's connections to the nodes that are left
 */
export const endpoints: Bench = {
  name: 'endpoints',
  title: `one Service changed among ${services} on each dataplane; one endpoint among ${localServices} backends`,
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
  step.done();
  progress.say(`  in force after ${median(inForce).toFixed(1)} ms`);
  return [
    {
      what: `${way}: one Service changed (${ways[way]}) → in force, median`,
      value: median(inForce),
      unit: 'ms',
      target: { atMost: 10 },
    },
    { what: `${way}: the same, p90`, value: quantile(inForce, 0.9), unit: 'ms' },
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

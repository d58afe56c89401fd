import { readFile, writeFile } from 'node:fs/promises';
import { until } from '../lab/machine/until.ts';
import path from 'node:path';
import type { Machine } from '../test/netns/net-lab.ts';
import type { Bench, Figure } from './bench.ts';
import { bulk, serveBulk } from './bulk.ts';
import { serveHttp } from './http-answers.ts';
import { type Site, startSite } from './site.ts';
import { median } from './statistics.ts';
import { ensureWrk, wrk } from './wrk.ts';

const nodePort = 30_000;
/** kube-proxy's. */
const healthPort = 10_256;
const services = 1_000;
const repetitions = 5;
const byHandPort = 8_080;
const manyPorts = ['net.ipv4.tcp_tw_reuse=1', 'net.ipv4.ip_local_port_range=1024 65535'];
const bulkNodePort = nodePort + 1;
const bulkByHandPort = 8_081;

/**
 * furiwake and a hand-written HAProxy (a `listen` for each Service with all nodes), in turns in one run. Both are
 * daemons with separate sessions: the kernel divides processor time between sessions (sched_autogroup), and a HAProxy
 * in wrk's session is faster by a third. The nodes answer with a HAProxy, which costs less than any web server; for
 * bulk a program writes as fast as the client reads. Client, load balancer and nodes share the machine's cores: compare
 * only ratios.
 */
export const throughput: Bench = {
  name: 'throughput',
  title: `against hand-written HAProxy: wrk with 64 connections, ${services} Services, medians of ${repetitions}`,
  run: async ({ bundle, progress, signal }) => {
    await ensureWrk(progress, signal);
    using step = progress.step('Making the Services');
    const nodes = ['10.20.0.11', '10.20.0.12'];
    await using site = await startSite({ services, nodes, nodePort, machines: nodes.length, bundle, signal });
    await using _backends = await startBackends(site, signal);
    await using _furiwake = site.startFuriwake();
    await site.ask({ do: 'awaitAddresses' });
    await using _byHand = await startByHand(site, nodes, signal);
    const { client } = site.lab;
    // In reality there are many clients; a single one has used all its ports after 28,000 connections, and then waits
    // for them.
    for (const machine of [site.lab.client, site.lab.balancer]) await machine.exec('sysctl', '-w', ...manyPorts);
    const measured = new Map<string, { furiwake: number[]; byHand: number[] }>();
    const measure = async (
      what: string,
      one: (address: string) => Promise<number>,
      targets: Targets,
    ): Promise<void> => {
      const { furiwake, byHand } = measured.get(what) ?? { furiwake: [], byHand: [] };
      measured.set(what, { furiwake, byHand });
      // In alternating order: the second one finds the nodes' sockets of the first in TIME_WAIT.
      const isFirst = furiwake.length % 2 === 0;
      if (isFirst) byHand.push(await one(targets.byHand));
      furiwake.push(await one(targets.furiwake));
      if (!isFirst) byHand.push(await one(targets.byHand));
    };
    await until('HAProxy by hand to listen', () => isAnswered(client, byHandPort), { signal, everyMs: 50 });
    const http = { furiwake: await listenerOf(site, nodePort), byHand: `10.10.0.1:${byHandPort}` };
    for (let round = 1; round <= repetitions; round++) {
      step.update(`round ${round} of ${repetitions}`);
      await measure('keep-alive requests', (address) => wrk(client, address, true, signal), http);
      await measure('new connections', (address) => wrk(client, address, false, signal), http);
      const downloads = { furiwake: await listenerOf(site, bulkNodePort), byHand: `10.10.0.1:${bulkByHandPort}` };
      await measure('bulk', (address) => bulk(client, address, 'down', signal), downloads);
    }
    step.done();
    return [...measured].flatMap(([what, { furiwake, byHand }]) => figuresOf(what, furiwake, byHand));
  },
};

type Targets = { readonly furiwake: string; readonly byHand: string };

/** Each is paired with the next one in time: the median of the ratios is more stable than the ratio of the medians. */
function figuresOf(what: string, furiwake: readonly number[], byHand: readonly number[]): readonly Figure[] {
  const unit = what === 'bulk' ? 'Gbit/s' : '1/s';
  const ratio = median(furiwake.map((value, index) => value / (byHand[index] ?? 1)));
  return [
    { what: `${what}, by hand`, value: median(byHand), unit },
    { what: `${what}, furiwake`, value: median(furiwake), unit },
    { what: `${what}, ratio`, value: ratio, unit: '×', target: { atLeast: what === 'new connections' ? 0.85 : 0.9 } },
  ];
}

/** On each node: an answer to HTTP on the first Service's nodePort and to health checks, and bulk on the second's. */
async function startBackends({ lab: { nodes } }: Site, signal: AbortSignal): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  stack.use(await serveHttp(nodes, [nodePort, healthPort], signal));
  for (const node of nodes) stack.use(await serveBulk(node, bulkNodePort, 'down', signal));
  return stack;
}

/** The hand-written configuration: a `listen` section for each Service, on the load-balancer host. */
async function startByHand({ lab }: Site, nodes: readonly string[], signal: AbortSignal): Promise<AsyncDisposable> {
  const listen = (name: string, port: number, backend: number): string =>
    `listen ${name}\n    bind 10.10.0.1:${port}\n${nodes.map((ip, index) => `    server n${index} ${ip}:${backend}\n`).join('')}`;
  const config = path.join(lab.folder, 'by-hand.cfg');
  await writeFile(
    config,
    `global
    maxconn 8000
defaults
    mode tcp
    timeout connect 6s
    timeout client 120s
    timeout server 120s
${listen('web', byHandPort, nodePort)}${listen('bulk', bulkByHandPort, bulkNodePort)}`,
  );
  return lab.balancer.execPort.spawn('setsid', ['haproxy', '-db', '-f', config], signal);
}

async function isAnswered(client: Machine, port: number): Promise<boolean> {
  return (await client.ask({ do: 'fetch', address: '10.10.0.1', port })).status === 200;
}

/** `VIP:port` that furiwake serves from this nodePort, as its map says: `10.50.0.7|80 nodes4|30000|4450|…`. */
async function listenerOf({ lab }: Site, port: number): Promise<string> {
  const map = await readFile(path.join(lab.folder, 'state', 'haproxy', 'services.map'), 'utf8');
  const key = map
    .split('\n')
    .find((line) => line.includes(` nodes4|${port}|`))
    ?.split(' ')[0];
  if (key === undefined) throw new Error(`furiwake serves nothing from nodePort ${port}`);
  return key.replace('|', ':');
}

import type { Bench } from './bench.ts';
import { haproxyFolderOf } from './haproxy-servers.ts';
import { type Site, startSite } from './site.ts';
import { median } from './statistics.ts';
import { listenerAt, watchElements } from './watch-elements.ts';

const services = 10_000;
const nodes = 500;
const changes = 50;
const firstPort = 1_000;
const firstNodePort = 20_000;

/**
 * One machine has the addresses of all nodes and answers HAProxy's health checks.
 *
 *   1. furiwake sees all Services for the first time: it writes finalizers, addresses and statuses, and adds listeners
 *   2. changes: another port for one Service; from the API server's event until `nft monitor` prints the element
 *   3. furiwake starts again on a clean host, as after `furiwake cleanup`, with Services that have addresses
 */
export const scale: Bench = {
  name: 'scale',
  title: `${services} Services, ${nodes} nodes: simulated API server, real HAProxy and nft`,
  run: async ({ bundle, progress, signal }) => {
    using step = progress.step('Making the Services');
    const addresses = Array.from({ length: nodes }, (_, index) => `10.21.${1 + (index >> 7)}.${1 + (index & 127)}`);
    await using site = await startSite({
      services,
      nodes: addresses,
      nodePort: firstNodePort,
      machines: 1,
      bundle,
      signal,
    });
    await answerForNodes(site);
    const furiwake = site.startFuriwake();
    step.update('meeting them for the first time');
    const met = await site.ask({ do: 'awaitAddresses' });
    step.update('changing one after the other');
    const { programmed, written } = await changeOneByOne(site, signal);
    const heap = await site.measure('heap.ts');
    const { residentMb, peakMb } = await furiwake.memory();
    await furiwake[Symbol.asyncDispose]();
    await furiwake.cleanUp();
    step.update('starting again');
    await using again = site.startFuriwake();
    const servedAt = await site.measure('await-metric.ts', 'furiwake_listeners', String(services));
    await assertServed(site, signal);
    step.done();
    return [
      { what: 'start → all served', value: (servedAt - again.startedAt) / 1000, unit: 's', target: { atMost: 5 } },
      { what: 'heap in use, after a collection', value: heap / 1e6, unit: 'MB', target: { atMost: 60 } },
      { what: 'one change → programmed, median', value: median(programmed), unit: 'ms', target: { atMost: 10 } },
      { what: 'one change → its status written, median', value: median(written), unit: 'ms' },
      { what: 'first start → all published', value: (met.writtenAt - furiwake.startedAt) / 1000, unit: 's' },
      { what: 'resident memory', value: residentMb, unit: 'MB' },
      { what: 'resident memory, peak', value: peakMb, unit: 'MB' },
    ];
  },
};

/**
 * Changes the port of one Service after the other; returns the ms from the API server's event until each was
 * programmed.
 */
async function changeOneByOne(
  { ask, lab }: Site,
  signal: AbortSignal,
): Promise<{ readonly programmed: readonly number[]; readonly written: readonly number[] }> {
  await using elements = watchElements(lab.balancer.execPort, signal);
  for (let port = 60_000; !elements.isFollowing(); port++) await ask({ do: 'changePort', service: 'service-0', port });
  const programmed: number[] = [];
  const written: number[] = [];
  for (let index = 1; index <= changes; index++) {
    const port = firstPort + index;
    const added = elements.added(listenerAt(port));
    const { changedAt, writtenAt } = await ask({ do: 'changePort', service: `service-${index}`, port });
    programmed.push((await added) - changedAt);
    written.push(writtenAt - changedAt);
  }
  return { programmed, written };
}

/**
 * Adds the addresses of all nodes to the one machine behind the load balancer, with the answer of a healthy kube-proxy.
 */
async function answerForNodes({
  lab: {
    balancer,
    nodes: [machine],
  },
}: Site): Promise<void> {
  await balancer.exec('ip', 'route', 'add', '10.21.0.0/16', 'via', machine?.ip4 ?? '');
  await machine?.exec('ip', 'route', 'add', 'local', '10.21.0.0/16', 'dev', 'lo');
  await machine?.ask({ do: 'serveHttp', port: 10_256, body: 'ok' });
}

/** Counts the listeners in the kernel and in HAProxy; @throws Error unless all are there. */
async function assertServed({ lab }: Site, signal: AbortSignal): Promise<void> {
  const listing = await lab.balancer.exec('nft', 'list', 'map', 'inet', 'furiwake', 'listeners4');
  const haproxy = await haproxyFolderOf(lab);
  const stdin = `show map ${haproxy}/services.map\n`;
  const rows = await lab.balancer.execPort.run('nc', ['-N', '-U', `${haproxy}/worker.sock`], { stdin, signal });
  const held = { kernel: listing.match(/ \. \d+ : /g)?.length, haproxy: rows.stdout.match(/nodes4/g)?.length };
  if (held.kernel === services && held.haproxy === services) return;
  throw new Error(`${JSON.stringify(held)} instead of ${services} listeners`);
}

import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, Figure } from './bench.ts';
import { readCpuMs, type Furiwake } from './furiwake.ts';
import { now } from './hosts/services.ts';
import { haproxyFolderOf } from './haproxy-servers.ts';
import { type Site, startSite } from './site.ts';
import { median } from './statistics.ts';
import { listenerAt, watchElements } from './watch-elements.ts';

const services = 10_000;
const nodes = 500;
const changes = 50;
/** Of scrapes, and of `status`. */
const readings = 5;
/** Within a second a scrape shows the figures of the one before. */
const betweenScrapesMs = 1_500;
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
    step.update('reading what it shows');
    const shown = await measureReadings(site, furiwake, bundle, signal);
    const { residentMb: withSamplesMb } = await furiwake.memory();
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
      ...shown,
      { what: 'first start → all published', value: (met.writtenAt - furiwake.startedAt) / 1000, unit: 's' },
      { what: 'resident memory', value: residentMb, unit: 'MB' },
      { what: 'resident memory, peak', value: peakMb, unit: 'MB' },
      { what: 'resident memory after the scrapes', value: withSamplesMb, unit: 'MB' },
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

/** What it costs to see the Services: a scrape of all over HTTP, and `status` of one. Medians. */
async function measureReadings(
  { lab, measure }: Site,
  furiwake: Furiwake,
  bundle: string,
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  const haproxy = Number(/^Pid: (\d+)$/m.exec(await askHaproxy(lab, 'show info', signal))?.[1]);
  const times: { readonly scrapeMs: number; readonly ownMs: number; readonly haproxyMs: number }[] = [];
  const statusMs: number[] = [];
  for (let index = 0; index < readings; index++) {
    const before = [now(), await readCpuMs(furiwake.pid), await readCpuMs(haproxy)] as const;
    await lab.balancer.exec('curl', '-sfo', '/dev/null', 'http://127.0.0.1:9470/metrics');
    const after = [now(), await readCpuMs(furiwake.pid), await readCpuMs(haproxy)] as const;
    times.push({ scrapeMs: after[0] - before[0], ownMs: after[1] - before[1], haproxyMs: after[2] - before[2] });
    const askedAt = now();
    const args = ['status', `default/service-${services - index - 1}`, '--state-dir', path.join(lab.folder, 'state')];
    await lab.balancer.execPort.run(bundle, args, { signal });
    statusMs.push(now() - askedAt);
  }
  const waits: number[] = [];
  for (let index = 0; index < readings; index++) {
    await sleep(betweenScrapesMs, undefined, { signal });
    waits.push(await measure('scrape.ts'));
  }
  const medianOf = (of: keyof (typeof times)[number]): number => median(times.map((each) => each[of]));
  return [
    { what: 'a scrape of all: until answered', value: medianOf('scrapeMs'), unit: 'ms' },
    {
      what: 'a scrape of all: processor time of HAProxy',
      value: medianOf('haproxyMs'),
      unit: 'ms',
      target: { atMost: 50 },
    },
    { what: 'a scrape of all: processor time of furiwake', value: medianOf('ownMs'), unit: 'ms' },
    { what: 'a scrape of all: longest wait of another request', value: median(waits), unit: 'ms' },
    { what: 'status of one Service, the program included', value: median(statusMs), unit: 'ms' },
  ];
}

/** Counts the listeners in the kernel and in HAProxy; @throws Error unless all are there. */
async function assertServed({ lab }: Site, signal: AbortSignal): Promise<void> {
  const listing = await lab.balancer.exec('nft', 'list', 'map', 'inet', 'furiwake', 'listeners4');
  const rows = await askHaproxy(lab, `show map ${await haproxyFolderOf(lab)}/services.map`, signal);
  const held = { kernel: listing.match(/ \. \d+ : /g)?.length, haproxy: rows.match(/nodes4/g)?.length };
  if (held.kernel === services && held.haproxy === services) return;
  throw new Error(`${JSON.stringify(held)} instead of ${services} listeners`);
}

/** The answer of the serving worker to one command. */
async function askHaproxy(lab: Site['lab'], command: string, signal: AbortSignal): Promise<string> {
  const socket = path.join(await haproxyFolderOf(lab), 'worker.sock');
  const run = await lab.balancer.execPort.run('nc', ['-N', '-U', socket], { stdin: `${command}\n`, signal });
  return run.stdout;
}

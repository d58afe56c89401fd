import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, Figure } from './bench.ts';
import { readChildrenCpuMs, readCpuMs } from './furiwake.ts';
import { nodeAddresses, standForNodes } from './simulated-nodes.ts';
import { type Site, startSite } from './site.ts';
import { median } from './statistics.ts';

const services = 10_000;
/** Two checks of each part are made in it. */
const idleSeconds = 60;
/** After its start furiwake collects garbage; after 30, 60 and 90 s everything is audited. */
const [startMs, auditsMs] = [20_000, 85_000];
const emptyProgram = 'setInterval(() => undefined, 1_000)';

/**
 * A host with 10,000 Services, a third on each dataplane, while nothing changes: the processor time of furiwake, and of the programs
 * that it starts. It is restarted before, without the Events of all Services, of which one is sent each second. Beside it runs a process
 * of Node that has one timer: no program in Node costs less here.
 */
export const idle: Bench = {
  name: 'idle',
  title: `${idleSeconds} idle seconds with ${services} Services, a third on each dataplane`,
  run: async ({ bundle, progress, signal }) => {
    using step = progress.step('Making the Services');
    const nodes = nodeAddresses(10);
    const features = { dataplanes: ['haproxy', 'nat', 'direct'], endpoints: 1 }; // without one, each Service sends an Event
    await using site = await startSite({ services, features, nodes, nodePort: 20_000, machines: 1, bundle, signal });
    await using _nodes = await standForNodes(site, nodes, signal);
    {
      step.update('publishing them');
      await using _first = site.startFuriwake();
      await site.ask({ do: 'awaitAddresses' });
    }
    step.update('starting again');
    const figures = await measureIdleness(site, (what) => step.update(what), signal);
    step.done();
    return figures;
  },
};

async function measureIdleness(
  site: Site,
  tell: (what: string) => void,
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  await using furiwake = site.startFuriwake();
  await using empty = site.lab.balancer.execPort.spawn(process.execPath, ['-e', emptyProgram], signal);
  await site.measure('await-metric.ts', 'furiwake_ready', '1');
  await sleep(startMs, undefined, { signal });
  const atStart = await readCpuMs(furiwake.pid);
  tell('waiting for the first audits');
  await sleep(auditsMs, undefined, { signal });
  const [begun, programsBegun] = await Promise.all([readCpuMs(furiwake.pid), readChildrenCpuMs(furiwake.pid)]);
  const emptyBegun = await readCpuMs(empty.pid);
  const seconds: number[] = [];
  for (let before = begun; seconds.length < idleSeconds;) {
    await sleep(1_000, undefined, { signal });
    const now = await readCpuMs(furiwake.pid);
    seconds.push(now - before);
    before = now;
    tell(`idle for ${seconds.length} of ${idleSeconds} s: ${((now - begun) / seconds.length).toFixed(1)} ms a second`);
  }
  const own = seconds.reduce((sum, each) => sum + each, 0) / idleSeconds;
  const ofEmpty = ((await readCpuMs(empty.pid)) - emptyBegun) / idleSeconds;
  const programs = ((await readChildrenCpuMs(furiwake.pid)) - programsBegun) / idleSeconds;
  return [
    {
      what: 'an idle second, furiwake and the programs that it starts',
      value: own + programs,
      unit: 'ms',
      target: { atMost: 1 },
    },
    { what: 'of that, furiwake', value: own, unit: 'ms' },
    { what: 'the same, median of the seconds', value: median(seconds), unit: 'ms' },
    { what: 'a process of Node with one timer, in the same seconds', value: ofEmpty, unit: 'ms' },
    {
      what: 'audits of all parts, once, furiwake',
      value: (begun - atStart - (own * auditsMs) / 1_000) / 3,
      unit: 'ms',
    },
  ];
}

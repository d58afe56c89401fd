import { beforeEach, expect, test } from 'vitest';
import { runFor } from '../../../../test/make/run-for.ts';
import { addressOf } from '../../../../test/make/table.ts';
import { recordLog } from '../../../../test/sim/observers.ts';
import { type VirtualClock, virtualClock } from '../../../../test/sim/virtual-clock.ts';
import type { UnequalMtu } from '../../../core/traffic/report.ts';
import type { ProbedPath } from './answer-probe.ts';
import type { MeasuredPath } from './mtu-probe.ts';
import { type AnsweringNodes, makeAnsweringNodes } from './answering-nodes.ts';

const station = { address: '192.0.2.11', mac: '02:00:00:00:00:11' };
const path = (host: number): ProbedPath => ({
  link: { index: 2, mac: '02:00:00:00:00:02', mtu: 1_500, address: addressOf('192.0.2.2') },
  nodeMac: '02:00:00:00:00:11',
  nodeAddress: addressOf('192.0.2.11'),
  vip: addressOf(`203.0.113.${host}`),
  port: 80,
});
const [n1, n2] = [path(1), path(2)];

let clock: VirtualClock;
let answering: Set<ProbedPath>;
let crossing: Set<ProbedPath>;
let mtus: Map<MeasuredPath, UnequalMtu | 'equal'>;
let probes: (readonly ProbedPath[])[];
let written: (readonly string[])[];
let failsToWrite: boolean;
let log = recordLog();

beforeEach(() => {
  clock = virtualClock();
  [answering, crossing, mtus, probes, written] = [new Set(), new Set(), new Map(), [], []];
  [failsToWrite, log] = [false, recordLog()];
});

function make(known: readonly string[] = []): AnsweringNodes {
  return makeAnsweringNodes({
    probe: (paths) => {
      probes.push(paths);
      const those = (of: ReadonlySet<ProbedPath>): ReadonlySet<ProbedPath> =>
        new Set(paths.filter((each) => of.has(each)));
      return Promise.resolve({ answered: those(answering), crossing: those(crossing) });
    },
    mtuProbe: () => Promise.resolve(mtus),
    record: {
      known: new Map(known.map((hop) => [hop, station])),
      write: (hops) => {
        if (failsToWrite) return Promise.reject(new Error('disk full'));
        written.push([...hops.keys()]);
        return Promise.resolve();
      },
    },
    clock,
    log,
  });
}

test('a node that answers is known, recorded, and then probed each five minutes only', async () => {
  answering.add(n1);
  const nodes = make();
  nodes.setPaths(new Map([['n1 4', n1]]));
  await runFor(nodes, clock, 3_600_000);
  expect(nodes.has('n1 4')).toBe(true);
  expect([probes.length, written]).toEqual([13, [['n1 4']]]);
});

test('a node that does not answer is probed after growing waits, at most each minute', async () => {
  const nodes = make();
  nodes.setPaths(new Map([['n1 4', n1]]));
  await runFor(nodes, clock, 600_000);
  expect(nodes.has('n1 4')).toBe(false);
  expect([...nodes.silent()]).toEqual(['n1 4']);
  expect(probes.length).toBeGreaterThan(10);
  expect(probes.length).toBeLessThan(21);
  expect(written).toEqual([]);
});

test('a node is silent after three probes in vain, and no longer when it left the cluster', async () => {
  const nodes = make();
  nodes.setPaths(new Map([['n1 4', n1]]));
  const stop = new AbortController();
  const running = nodes.run(stop.signal).catch(() => undefined);
  for (const silent of [[], [], ['n1 4']]) {
    const before = probes.length;
    while (probes.length === before) await clock.advance(100);
    expect([...nodes.silent()]).toEqual(silent);
  }
  nodes.keep(new Map([['n2 4', '192.0.2.12']]));
  expect([...nodes.silent()]).toEqual([]);
  stop.abort();
  await running;
});

test('a node whose path was away while it waited is probed soon after the path is back', async () => {
  const nodes = make();
  const stop = new AbortController();
  const running = nodes.run(stop.signal).catch(() => undefined);
  nodes.setPaths(new Map([['n1 4', n1]]));
  await clock.advance(100_000); // the waits have grown
  nodes.setPaths(new Map()); // its only Service is gone
  await clock.advance(5_000);
  const before = probes.length;
  answering.add(n2);
  nodes.setPaths(new Map([['n1 4', n2]]));
  await clock.advance(3_000);
  expect(probes).toHaveLength(before + 1);
  expect(nodes.has('n1 4')).toBe(true);
  stop.abort();
  await running;
});

test('a node whose answers cross this host is not used, and is used when they no longer do', async () => {
  answering.add(n1);
  const nodes = make(['n1 4']);
  const stop = new AbortController();
  const running = nodes.run(stop.signal).catch(() => undefined);
  const state = (): unknown => [nodes.has('n1 4'), [...nodes.obstacles()]];
  nodes.setPaths(new Map([['n1 4', n1]]));
  await clock.advance(1_000);
  expect(state()).toEqual([true, []]);
  crossing.add(n1);
  await clock.advance(300_000);
  expect([state(), written]).toEqual([[false, [['n1 4', 'crossing']]], [[]]]);
  crossing.delete(n1);
  await clock.advance(60_000);
  expect([state(), written]).toEqual([
    [true, []],
    [[], ['n1 4']],
  ]);
  crossing.add(n1);
  await clock.advance(300_000);
  nodes.keep(new Map());
  expect(state()).toEqual([false, []]);
  stop.abort();
  await running;
});

test('a node with another MTU is not used until it, or the link, has the same; silence proves nothing', async () => {
  answering.add(n1);
  const nodes = make(['n1 4']);
  const stop = new AbortController();
  const running = nodes.run(stop.signal).catch(() => undefined);
  const state = (): unknown => [nodes.has('n1 4'), nodes.obstacles().get('n1 4')];
  const small = { least: 1_396, most: 1_403, lan: 1_500 };
  mtus.set(n1, small);
  nodes.setPaths(new Map([['n1 4', n1]]));
  await clock.advance(1_000);
  expect(state()).toEqual([false, small]);
  mtus.clear();
  await clock.advance(120_000);
  expect(state()).toEqual([false, small]);
  const before = probes.length;
  const narrow = { ...n1, link: { ...n1.link, mtu: 1_400 } };
  [answering, mtus] = [new Set([narrow]), new Map([[narrow, 'equal']])];
  nodes.setPaths(new Map([['n1 4', narrow]]));
  await clock.advance(1_000);
  expect([state(), probes.length - before]).toEqual([[true, undefined], 1]);
  answering = new Set([n1]); // a node that is used is probed at once when the link changes, too
  mtus.set(n1, small);
  nodes.setPaths(new Map([['n1 4', n1]]));
  await clock.advance(1_000);
  expect(state()).toEqual([false, small]);
  stop.abort();
  await running;
});

test('a node with another address or MAC is proven again', async () => {
  const other = { ...n1, nodeMac: '02:00:00:00:00:99' };
  const moved = { ...other, nodeAddress: addressOf('192.0.2.99') };
  answering = new Set([n1, other]);
  const nodes = make();
  const stop = new AbortController();
  const running = nodes.run(stop.signal).catch(() => undefined);
  let changes = 0;
  nodes.subscribe(() => changes++);
  nodes.setPaths(new Map([['n1 4', n1]]));
  await clock.advance(1_000);
  expect([nodes.has('n1 4'), changes]).toEqual([true, 1]);
  nodes.setPaths(new Map([['n1 4', other]]));
  expect([nodes.has('n1 4'), changes]).toEqual([false, 2]);
  await clock.advance(1_000);
  expect([nodes.has('n1 4'), probes.at(-1)]).toEqual([true, [other]]);
  nodes.keep(new Map([['n1 4', '192.0.2.11']]));
  nodes.setPaths(new Map()); // its MAC is not known now
  expect(nodes.has('n1 4')).toBe(true);
  nodes.keep(new Map([['n1 4', '192.0.2.99']]));
  nodes.setPaths(new Map([['n1 4', moved]]));
  await clock.advance(30_000);
  expect([nodes.has('n1 4'), probes.at(-1)]).toEqual([false, [moved]]);
  stop.abort();
  await running;
});

test('a node that is known from before a restart is probed once more, and one that left the cluster is forgotten', async () => {
  answering.add(n2);
  const nodes = make(['n1 4', 'n3 4']);
  expect(nodes.has('n1 4')).toBe(true);
  nodes.keep(new Map(['n1 4', 'n2 4'].map((hop) => [hop, station.address])));
  nodes.setPaths(new Map([['n1 4', n1], ['n2 4', n2]])); // prettier-ignore
  await runFor(nodes, clock, 10_000);
  expect(probes).toEqual([[n1, n2]]);
  expect(nodes.has('n1 4')).toBe(true);
  expect(written.at(-1)).toEqual(['n1 4', 'n2 4']);
});

test('a record that cannot be written does not keep a node from being known, and is written later', async () => {
  answering.add(n1);
  failsToWrite = true;
  const nodes = make();
  nodes.setPaths(new Map([['n1 4', n1]]));
  const stop = new AbortController();
  const running = nodes.run(stop.signal).catch(() => undefined);
  await clock.advance(600_000);
  expect([nodes.has('n1 4'), written]).toEqual([true, []]);
  failsToWrite = false;
  await clock.advance(60_000);
  expect(written).toEqual([['n1 4']]);
  stop.abort();
  await running;
});

import { expect, test } from 'vitest';
import { heldAs, makeLimitScene } from '../../../../test/make/limit-scene.ts';
import { withOptions } from '../../../../test/make/options.ts';
import { localTable, node, podListener, type PodText, podTable, tableOf } from '../../../../test/make/table.ts';
import { type Listener, localBackend, type TrafficTable } from '../../../core/traffic/table.ts';

const [n1, n2] = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
const drained = { ...n1, state: 'drain' as const };
const mail = withOptions('192.0.2.52', 25, 30_025, { server: { drainMs: 1000 } });
const [onN1, onN2] = ['spare4-0/n1:30025:drain1000', 'spare4-0/n2:30025:drain1000'] as const;
const pods = (...texts: readonly PodText[]): TrafficTable => podTable([[ofPods('192.0.2.53', 'test/web'), texts]]);
const ofPods = (vip: string, service: string, drainMs = 1000): Listener => {
  const { backend, service: key } = podListener(vip, 80, service);
  return { ...withOptions(vip, 80, 0, { server: { drainMs } }), backend, service: key };
};
const [pod, other] = ['spare4-0/pod_10.244.1.7_8080:drain1000', 'spare4-0/pod_10.244.1.8_8080:drain1000'] as const;

test('a node that drains is overdue when its time is over, until its connections are ended; and again when it drains again', async () => {
  const { clock, limits, plan, round } = makeLimitScene(tableOf([mail], [drained, n2]));
  expect(round([onN1])).toEqual([]);
  await clock.advance(999);
  expect(round([onN1])).toEqual([]);
  await clock.advance(1);
  for (let time = 0; time < 2; time++) expect(round([onN1])).toEqual([onN1]);
  limits.ended(true);
  await clock.advance(9000);
  expect(round([onN1])).toEqual([]);
  for (const first of [n1, drained]) plan(tableOf([mail], [first, n2])); // within a second
  expect(round([onN1])).toEqual([]);
  await clock.advance(1000);
  expect(round([onN1])).toEqual([onN1]);
});

test('a node that was removed is overdue as long as a worker may have its connections, and they are tried again until all were asked', async () => {
  const { clock, limits, plan, round } = makeLimitScene(tableOf([mail], [n1, n2]));
  plan(tableOf([mail], [n2]));
  expect(round([], true)).toEqual([]);
  await clock.advance(1000);
  expect(round([], true)).toEqual([onN1]);
  limits.ended(false);
  expect(round([], true)).toEqual([]);
  await clock.advance(5000);
  expect(round([], true)).toEqual([onN1]);
  limits.ended(true);
  await clock.advance(9000);
  for (const mayBeLeft of [true, false]) expect(round([], mayBeLeft)).toEqual([]);
  plan(tableOf([mail], []));
  expect(round([], false)).toEqual([]); // no worker has it
  await clock.advance(1000);
  expect(round([], true)).toEqual([]);
});

test('it is known at any moment whether a node is in use again', async () => {
  const { clock, limits, plan, round } = makeLimitScene(tableOf([mail], [n1, n2]));
  plan(tableOf([mail], [n2]));
  round([], true);
  await clock.advance(1000);
  expect([round([], true), limits.isOverdue(onN1)]).toEqual([[onN1], true]);
  plan(tableOf([mail], [n1, n2]), false);
  expect([limits.isOverdue(onN1), limits.isOverdue(onN2)]).toEqual([false, false]);
  plan(tableOf([mail], [n2]));
  expect(limits.isOverdue(onN1)).toBe(false); // its time begins
  plan(tableOf([mail], [n1, n2]));
  limits.ended(true); // so this was not for the next time
  plan(tableOf([mail], [n2]));
  round([], true);
  await clock.advance(1000);
  expect(round([], true)).toEqual([onN1]);
});

test('the time of a server begins when HAProxy gives it no new connections any more', async () => {
  const { clock, limits, round } = makeLimitScene(tableOf([mail], [drained, n2]));
  for (let time = 0; time < 2; time++, await clock.advance(1000))
    expect([...limits.overdue(heldAs('ready', [onN1]), false)]).toEqual([]);
  expect(round([onN1])).toEqual([]);
  await clock.advance(1000);
  expect(round([onN1])).toEqual([onN1]);
});

test('while the servers are not known, the time of those that drain continues', async () => {
  const { clock, limits, round } = makeLimitScene(tableOf([mail], [drained, n2]));
  round([onN1]);
  await clock.advance(1000);
  expect([...limits.overdue(undefined, false)]).toEqual([]);
  expect(round([onN1])).toEqual([onN1]);
});

test('servers that a furiwake before has left belong to the port or backend in their names', async () => {
  const [web, left] = [tableOf([mail], [n1, n2]), 'spare4-9/n1:30025:proxy1.drain9000'];
  const { clock, plan, round } = makeLimitScene(web).restart();
  expect(round([left])).toEqual([]);
  await clock.advance(9000);
  expect(round([left])).toEqual([]);
  plan(tableOf([mail], [drained, n2]));
  expect(round([left, onN1])).toEqual([]);
  await clock.advance(1000);
  expect(round([left, onN1])).toEqual([left, onN1]);
  const next = makeLimitScene(pods('10.244.1.8 8080')).restart();
  expect(next.round([pod])).toEqual([]);
  await next.clock.advance(1000);
  expect(next.round([pod, 'spare4-5/pod_10.244.1.9_80:drain1000'])).toEqual([pod]);
});

test.each<[string, TrafficTable, readonly string[]]>([
  ['one Pod is gone', pods('10.244.1.8 8080'), [pod]],
  ['all are gone', pods(), [pod, other]],
  ['one terminates', pods('10.244.1.7 8080 draining', '10.244.1.8 8080'), [pod]],
  ['its Pods are not known', { ...pods(), pods: podTable([]).pods }, []],
  ['nodes serve it', tableOf([{ ...mail, service: ofPods('192.0.2.53', 'test/web').service }], [n1]), []],
  ['HAProxy serves it no more', tableOf([], [n1]), []],
])('a Service with Pods of which %s: the connections that end', async (_, after, ending) => {
  const { clock, plan, round } = makeLimitScene(pods('10.244.1.7 8080', '10.244.1.8 8080'));
  plan(after);
  expect(round([pod, other])).toEqual([]);
  await clock.advance(1000);
  expect(round([pod, other])).toEqual(ending);
});

test('a Pod that leaves one of two Services is out of use for that one', async () => {
  const of = (...texts: readonly PodText[]): TrafficTable =>
    podTable([
      [ofPods('192.0.2.53', 'test/web'), texts],
      [ofPods('192.0.2.54', 'test/also'), ['10.244.1.7 8080']],
    ]);
  const { clock, plan, round } = makeLimitScene(of('10.244.1.7 8080', '10.244.1.8 8080'));
  plan(of('10.244.1.8 8080'));
  expect(round([], true)).toEqual([]);
  await clock.advance(1000);
  expect(round([], true)).toEqual([expect.stringMatching(/pod_10\.244\.1\.7_8080:drain1000$/)]);
});

/** The Service web, which changes its options, and so many others that one of them gets its former spare. */
const takenOver = (of: 'web' | 'first', ...texts: readonly PodText[]): readonly TrafficTable[] => {
  const some: readonly PodText[] = ['10.244.1.7 8080'];
  const web = (now: readonly PodText[]): [Listener, readonly PodText[]] => [
    ofPods('192.0.2.53', 'test/web', 2000),
    now,
  ];
  const others = (now: readonly PodText[]): [Listener, readonly PodText[]][] =>
    Array.from({ length: 15 }, (_, index) => [
      ofPods(`192.0.2.${100 + index}`, `test/s${index}`),
      index === 0 ? now : some,
    ]);
  return [
    podTable([web(some), ...others(some).slice(1)]),
    podTable([web(some), ...others(some)]),
    podTable(of === 'web' ? [web(texts), ...others(some)] : [web(some), ...others(texts)]),
  ];
};

test.each([
  ['it leaves the Service of before', takenOver('web'), [expect.stringMatching(/drain2000$/)]],
  ['it leaves that Service', takenOver('first', '10.244.1.8 8080'), []],
] as const)(
  'a Pod of whose servers one was taken over by another Service; %s: what ends',
  async (_, tables, ending) => {
    const { clock, plan, round } = makeLimitScene(pods('10.244.1.7 8080'));
    for (const after of tables) plan(after);
    expect(round([], true)).toEqual([]);
    await clock.advance(2000);
    expect(round([], true)).toEqual(ending);
  },
);

test('the time of a node continues while other nodes of its port change', async () => {
  const { clock, plan, round } = makeLimitScene(tableOf([mail], [drained, n2]));
  round([onN1]);
  await clock.advance(1000);
  plan(tableOf([mail], [drained]));
  expect(round([onN1])).toEqual([onN1]);
});

test('the time of a server of before ends when its node is used again, also within a second', async () => {
  const { clock, plan, round } = makeLimitScene(tableOf([mail], [n1, n2]));
  const now = withOptions('192.0.2.52', 25, 30_025, { server: { drainMs: 1000, proxyProtocol: 1 } });
  plan(tableOf([now], [drained, n2]));
  round([onN1]);
  await clock.advance(1000);
  for (const first of [n1, drained]) plan(tableOf([now], [first, n2]));
  expect(round([onN1])).toEqual([]);
  await clock.advance(1000);
  expect(round([onN1])).toEqual([onN1]);
});

test('a server that drains since before the first round has its limit', async () => {
  const { clock, plan, round } = makeLimitScene(tableOf([], [drained, n2]));
  plan(tableOf([mail], [drained, n2]));
  expect(round([onN1])).toEqual([]);
  await clock.advance(1000);
  expect(round([onN1])).toEqual([onN1]);
});

test('the time of a node that drains begins when the nodes of its port are known', async () => {
  const local = { ...mail, backend: localBackend(4, mail.service) };
  const known = (first: typeof n1): TrafficTable => localTable([[local, { n1: 1, n2: 1 }]], [first, n2]);
  const { clock, plan, round } = makeLimitScene(tableOf([], [n1, n2]));
  for (const next of [known(n1), tableOf([local], [drained, n2])]) plan(next);
  for (let time = 0; time < 2; time++, await clock.advance(1000)) expect(round([onN1])).toEqual([]);
  plan(known(drained));
  expect(round([onN1])).toEqual([]);
  await clock.advance(1000);
  expect(round([onN1])).toEqual([onN1]);
});

test('nodes that stood in for Pods have no limit when these are known', async () => {
  const known = pods('10.244.1.7 8080');
  const { clock, plan, round } = makeLimitScene({
    ...tableOf([...known.listeners.values()], [n1]),
    pods: podTable([]).pods,
  });
  plan(known);
  expect(round([], true)).toEqual([]);
  await clock.advance(1000);
  expect(round([], true)).toEqual([]);
});

test('a former NodePort that another Service has now has no limit', async () => {
  const { clock, plan, round } = makeLimitScene(tableOf([mail], [n1, n2]));
  const moved = withOptions('192.0.2.52', 25, 30_026, mail.options ?? {});
  const next = withOptions('192.0.2.54', 25, 30_025, mail.options ?? {});
  plan(tableOf([moved, next], [n1, n2]));
  plan(
    localTable(
      [
        [{ ...next, backend: localBackend(4, next.service) }, { n2: 1 }],
        [moved, {}],
      ],
      [n1, n2],
    ),
  );
  expect(round([onN1], true)).toEqual([]);
  await clock.advance(1000);
  expect(round([onN1], true)).not.toContain(onN1);
});

test.each([
  ['before the first round', 0],
  ['later', 1],
])('a server that a furiwake before has left is of no Service that takes its spare %s', async (_, rounds) => {
  const { clock, plan, round } = makeLimitScene(tableOf([], [n1, n2]));
  for (let time = 0; time < rounds; time++) expect(round([pod])).toEqual([]);
  for (const texts of [['10.244.1.7 8080', '10.244.1.8 8080'], ['10.244.1.8 8080']])
    plan(pods(...texts.slice(1 - rounds)));
  expect(round([pod])).toEqual([]);
  await clock.advance(1000);
  expect(round([pod])).toEqual([]);
});

test('a node counts for both policies of a port', async () => {
  const { clock, plan, round } = makeLimitScene(tableOf([mail], [n1, n2]));
  const local = { ...mail, backend: localBackend(4, mail.service) };
  plan(localTable([[local, { n2: 1 }]], [n1, n2]));
  expect(round([onN1, onN2])).toEqual([]);
  await clock.advance(1000);
  expect(round([onN1, onN2])).toEqual([onN1]);
});

const check = { intervalMs: 1000, fall: 3, rise: 2 };
const checked = withOptions('192.0.2.52', 25, 30_025, { server: { drainMs: 1000, check } });
const onPod = (state: 'active' | 'drain'): TrafficTable => {
  return podTable([[ofPods('192.0.2.53', 'test/web'), ['10.244.1.7 8080 n1']]], [{ ...n1, state }, n2]);
};

test.each([
  [
    'with a check of its own',
    `${onN1}.check1000-3-2`,
    (state: 'active' | 'drain') => tableOf([checked], [{ ...n1, state }, n2]),
  ],
  ['with a Pod', pod, onPod],
])(
  'the time of a node %s does not pass while it is silent and in use, and does when it drains',
  async (_, id, table) => {
    const { clock, plan, round } = makeLimitScene(table('active'));
    const silent = new Set(['nodes4/n1']);
    plan(table('active'), true, silent);
    for (let time = 0; time < 3; time++, await clock.advance(1000)) expect(round([id])).toEqual([]);
    plan(table('drain'), true, silent);
    expect(round([id])).toEqual([]);
    await clock.advance(1000);
    expect(round([id])).toEqual([id]);
  },
);

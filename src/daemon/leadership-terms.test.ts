import { describe, expect, test } from 'vitest';
import { type Scene, makeScene, messages, renewElsewhere, startLeading } from '../../test/make/leading-hosts.ts';
import { mayServeWithoutLease } from './leadership.ts';

test.each([
  ['a host that has always been alone serves', false, 'withdraw', true],
  ['a host that has seen another one does not serve', true, 'withdraw', false],
  ['a host that keeps its addresses serves', true, 'keep', true],
] as const)('%s its last table before it holds the Lease', (_, others, onLeaseLoss, serves) => {
  expect(mayServeWithoutLease({ hasOthers: () => others, onLeaseLoss })).toBe(serves);
});

test('a host that waited for another one serves with the first table of its term, not with the Lease', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b', { publishes: false });
  await renewElsewhere(scene, 'lb2_c-d', 10);
  await scene.clock.advance(20_000);
  expect([host.isWorking, host.changes, host.term?.isLedgerCurrent]).toEqual([true, [false], false]);
  host.term?.published();
  expect(host.changes).toEqual([false, true]);
});

test.each(['withdraw', 'keep'] as const)(
  'a host whose class of before another host serves shows nothing of it, with --on-lease-loss %s',
  async (onLeaseLoss) => {
    const scene = makeScene();
    const options = { publishes: false, isFormerClassTaken: true, onLeaseLoss };
    const host = startLeading(scene, 'lb1_a-b', options);
    await scene.clock.advance(30_000);
    expect([host.isWorking, host.changes, host.term?.isFormerClassTaken]).toEqual([true, [false], true]);
    host.term?.published();
    expect(host.changes).toEqual([false, true]);
  },
);

test('a host whose class of before another host serves withdraws before it can read the Lease of its class', async () => {
  const scene = makeScene();
  scene.cluster.links.set('lb1_a-b', 'cut');
  const host = startLeading(scene, 'lb1_a-b', { publishes: false, isFormerClassTaken: true });
  await scene.clock.advance(1_000);
  expect([host.isWorking, host.changes]).toEqual([false, [false]]);
});

test('a renewal after an interruption opens no host that has no table of its term', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b', { publishes: false, knowsOthers: true });
  await scene.clock.advance(1_000);
  scene.cluster.links.set('lb1_a-b', 'cut');
  await scene.clock.advance(20_000);
  scene.cluster.links.set('lb1_a-b', 'up');
  await scene.clock.advance(20_000);
  expect([host.changes, host.terms]).toEqual([[], 1]);
  expect(messages(host, 'info')).toContain('the Lease is renewed again');
  host.term?.published();
  expect(host.changes).toEqual([true]);
});

test('a table that arrives after the Lease was lost opens nothing', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b', { publishes: false, knowsOthers: true });
  await scene.clock.advance(1_000);
  await renewElsewhere(scene, 'lb2_c-d', 10);
  host.term?.published();
  expect(host.changes).toEqual([]);
});

describe('a lone host that starts again', () => {
  /** Runs until its first plan is recorded (or not), then crashes or ends. */
  async function runOnce(scene: Scene, files: Map<string, string>, end: 'crash' | 'release', publishes = true) {
    const stop = new AbortController();
    const host = startLeading(scene, 'lb1_a-b', { files, publishes, stop });
    await scene.clock.advance(12_000);
    if (end === 'crash') scene.cluster.links.set('lb1_a-b', 'cut');
    stop.abort();
    await scene.clock.drive(host.ended);
    scene.cluster.links.clear();
  }

  test.each(['crash', 'release'] as const)('after a %s trusts its ledger and serves at once', async (end) => {
    const scene = makeScene();
    const files = new Map<string, string>();
    await runOnce(scene, files, end);
    const host = startLeading(scene, 'lb1_a-b', { files, publishes: false });
    await scene.clock.advance(1_000);
    expect([host.changes, host.terms, host.term?.isLedgerCurrent]).toEqual([[], 1, true]);
  });

  test('after a crash before its first plan does not trust its ledger, but serves', async () => {
    const scene = makeScene();
    const files = new Map<string, string>();
    await runOnce(scene, files, 'release');
    await runOnce(scene, files, 'crash', false);
    const host = startLeading(scene, 'lb1_a-b', { files, publishes: false });
    await scene.clock.advance(1_000);
    expect([host.changes, host.terms, host.term?.isLedgerCurrent]).toEqual([[], 1, false]);
  });

  test('after another host held and released the Lease unseen, withdraws until it has a table', async () => {
    const scene = makeScene();
    const files = new Map<string, string>();
    await runOnce(scene, files, 'release');
    const other = new AbortController();
    const second = startLeading(scene, 'lb2_c-d', { stop: other });
    await scene.clock.advance(1_000);
    other.abort();
    await scene.clock.drive(second.ended);
    const host = startLeading(scene, 'lb1_a-b', { files, publishes: false });
    await scene.clock.advance(1_000);
    expect([host.changes, host.terms, host.term?.isLedgerCurrent]).toEqual([[false], 1, false]);
    host.term?.published();
    expect(host.changes).toEqual([false, true]);
  });
});

test('a host that was cut off while another one held and released the Lease begins a new term', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b', { publishes: false });
  await scene.clock.advance(1_000);
  host.term?.published();
  scene.cluster.links.set('lb1_a-b', 'cut');
  const other = new AbortController();
  const second = startLeading(scene, 'lb2_c-d', { stop: other, onLeaseLoss: 'keep' });
  await scene.clock.advance(30_000);
  expect(second.isWorking).toBe(true);
  other.abort();
  await scene.clock.drive(second.ended);
  scene.cluster.links.clear();
  await scene.clock.advance(10_000);
  expect([host.terms, host.changes, host.term?.isLedgerCurrent]).toEqual([2, [false], false]);
  expect(messages(host, 'error')).toEqual([
    expect.stringContaining('another host may have held the Lease while this host was cut off'),
    expect.stringContaining('host lb2 may still answer for its addresses'),
  ]);
});

test.each([
  ['keeps the Lease for a restart, and says so', false, [expect.stringContaining('the Lease stays with this host')]],
  ['that stops its traffic leaves the Lease to the caller', true, []],
])('a host that is not alone %s when it ends', async (_, stopsTrafficOnExit, words) => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b', { knowsOthers: true, stopsTrafficOnExit });
  await scene.clock.advance(1_000);
  const before = messages(host, 'info').length;
  scene.stop.abort();
  await scene.clock.drive(host.ended).catch(() => undefined);
  expect(messages(host, 'info').slice(before)).toEqual(words);
  expect(scene.cluster.lease?.spec.holderIdentity).toBe('lb1_a-b');
});

test('with another host known, a host that finds an older Lease of its own and is cut off then withdraws in time', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b', { knowsOthers: true });
  await scene.clock.advance(1_000);
  const backup = scene.cluster.lease;
  await scene.clock.advance(60_000);
  scene.cluster.lease = backup;
  scene.cluster.links.set('lb1_a-b', 'outrun');
  await scene.clock.advance(6_000);
  expect(host.changes).toEqual([true]);
  scene.cluster.links.set('lb1_a-b', 'cut');
  await scene.clock.advance(8_000);
  expect(host.changes).toEqual([true, false]);
});

test.each([
  ['has always been alone serves on', false, []],
  ['knows of another host does not serve until it holds the Lease', true, [true]],
])('a host that starts when its Lease was deleted by hand, and %s', async (_, knowsOthers, changes) => {
  const scene = makeScene();
  const files = new Map<string, string>();
  const earlier = new AbortController();
  startLeading(scene, 'lb1_a-b', { files, knowsOthers, stop: earlier });
  await scene.clock.advance(1_000);
  earlier.abort();
  scene.cluster.lease = undefined;
  const host = startLeading(scene, 'lb1_a-b', { files, knowsOthers });
  await scene.clock.advance(10_000);
  expect(host.terms).toBe(0);
  await scene.clock.advance(10_000);
  expect([host.terms, host.changes]).toEqual([1, changes]);
  expect(messages(host, 'warn')).toEqual([
    'the Lease was deleted or emptied while another host may have held it; taking it in 15 s unless that host writes it again',
  ]);
});

test('a host that loses the Lease to another one withdraws at once, however long its work takes to end', async () => {
  const scene = makeScene();
  const host = startLeading(scene, 'lb1_a-b', { workEndsAfterMs: 60_000 });
  await scene.clock.advance(7_000);
  await renewElsewhere(scene, 'lb2_c-d', 10);
  expect([host.changes, host.isWorking]).toEqual([[false], true]);
});

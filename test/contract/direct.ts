import { describe, expect, test } from 'vitest';
import { parseRange } from '../../src/core/ip/range.ts';
import type { Listener, TrafficNode, TrafficTable } from '../../src/core/traffic/table.ts';
import { usualCallMs } from '../../src/ports/call-times.ts';
import type { Direct } from '../../src/ports/direct.ts';
import { directListener, listener, natListener, tableOf } from '../make/table.ts';
import { patience } from '../netns/patience.ts';
import { fastestMs, timedScenes } from './in-time.ts';

/**
 * The fate of a new flow of a client, 198.51.100.2: a node answers it, it gets no answer, or it goes up the stack of the host,
 * where no program listens.
 */
export type Fate = 'served' | 'dropped' | 'left';

/** An unused `direct`, on a host that has the address 192.0.2.50; `nodes` are on its link and serve the address. */
export type DirectScene = AsyncDisposable & {
  readonly direct: Direct;
  readonly nodes: readonly TrafficNode[];
  fateOf(listener: Listener): Promise<Fate>;
  /** The kube-proxies of all nodes answer and serve what is published, from now on or no longer. At the start they do. */
  setAnswering(isAnswering: boolean): void;
  /** The nodes are on a link of the host, or behind a router. At the start they are on one. */
  setOnLink(isOnLink: boolean): void;
  /** nft refuses listeners with the source range {@link refusedRange}, or accepts them. At the start it accepts them. */
  setRefusing(isRefusing: boolean): void;
  /** From now on nft refuses everything, or accepts changes again. */
  breakAll(isBroken: boolean): void;
  /** Another program removes a listener. */
  remove(listener: Listener): Promise<void>;
};

export const refusedRange = '203.0.113.99';

const { signal } = new AbortController();
const vip = '192.0.2.50';
const [a, b, c] = [53, 54, 55].map((port) => directListener(vip, port, { isPublished: true })) as [
  Listener,
  Listener,
  Listener,
];
const withStandIn = listener(vip, 53, 30_053, { dataplane: 'direct', standIn: 'haproxy', isPublished: true });
const within = ({ port }: Listener, ...ranges: readonly string[]): Listener =>
  directListener(vip, port, { isPublished: true, sourceRanges: ranges.flatMap((text) => parseRange(text) ?? []) });

/** Runs it; returns how it ends. */
function start(direct: Direct): () => Promise<void> {
  const stop = new AbortController();
  const running = direct.run(stop.signal).catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
  return () => {
    stop.abort();
    return running;
  };
}

/** The contract of every implementation of the port. */
export function directContract(name: string, makeGiven: () => Promise<DirectScene>): void {
  const makeScene = timedScenes(makeGiven, 'direct');
  const table = ({ nodes }: DirectScene, ...listeners: readonly Listener[]): TrafficTable => tableOf(listeners, nodes);
  const fates = async (scene: DirectScene): Promise<readonly Fate[]> => [
    await scene.fateOf(a),
    await scene.fateOf(b),
    await scene.fateOf(c),
  ];
  const forwarding = ({ direct }: DirectScene): readonly boolean[] =>
    [a, b, c].map(({ key }) => direct.isForwarding(key));

  describe(`direct contract: ${name}`, () => {
    test('exactly the listeners of the table are served', async () => {
      await using scene = await makeScene();
      const { direct } = scene;
      for (let time = 0; time < 2; time++) expect(await direct.apply(table(scene, a, b), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['served', 'served', 'left']);
      expect(forwarding(scene)).toEqual([true, true, false]);
      await direct.apply(table(scene, b, c), signal);
      expect(await fates(scene)).toEqual(['left', 'served', 'served']);
      await direct.apply(table(scene), signal);
      expect(await fates(scene)).toEqual(['left', 'left', 'left']);
      expect(forwarding(scene)).toEqual([false, false, false]);
    });

    test('prepare programs a host without a table, and changes none', async () => {
      await using scene = await makeScene();
      const { direct } = scene;
      expect(await direct.prepare(table(scene, a), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['served', 'left', 'left']);
      expect(await direct.prepare(table(scene, b), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['served', 'left', 'left']);
      await direct.apply(table(scene, b), signal);
      expect(await fates(scene)).toEqual(['left', 'served', 'left']);
    });

    test('a change of a listener takes no longer than a pass waits for it', async () => {
      await using scene = await makeScene();
      await scene.direct.apply(table(scene, a), signal);
      const tookMs = await fastestMs(async () => {
        await scene.direct.apply(table(scene, a, b), signal);
        await scene.direct.apply(table(scene, a), signal);
      });
      expect(tookMs).toBeLessThanOrEqual(usualCallMs);
    });

    test('a listener of another dataplane is left alone, and one that moves there is served no more', async () => {
      await using scene = await makeScene();
      await scene.direct.apply(table(scene, a, b), signal);
      const others = [natListener(vip, 54, 30_054), listener(vip, 80, 30_080)];
      expect(await scene.direct.apply(table(scene, a, ...others), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['served', 'left', 'left']);
      expect(scene.direct.isForwarding(b.key)).toBe(false);
    });

    test('a listener that is not published drops its packets', async () => {
      await using scene = await makeScene();
      const unpublished = directListener(vip, 53);
      expect(await scene.direct.apply(table(scene, unpublished), signal)).toEqual(new Map());
      expect([await scene.fateOf(a), ...forwarding(scene)]).toEqual(['dropped', false, false, false]);
      await scene.direct.apply(table(scene, a), signal);
      expect([await scene.fateOf(a), ...forwarding(scene)]).toEqual(['served', true, false, false]);
    });

    test('without a node that takes flows a listener drops its packets, without any node it leaves them, and serves again with one', async () => {
      await using scene = await makeScene();
      const { direct, nodes } = scene;
      const drained = nodes.map((node) => ({ ...node, state: 'drain' as const }));
      for (const [unable, fate] of [
        [[], 'left'],
        [drained, 'dropped'],
      ] as const) {
        await direct.apply(tableOf([a], unable), signal);
        expect([await scene.fateOf(a), ...forwarding(scene)]).toEqual([fate, false, false, false]);
        await direct.apply(table(scene, a), signal);
        expect([await scene.fateOf(a), ...forwarding(scene)]).toEqual(['served', true, false, false]);
      }
    });

    test('while no node serves a listener its packets are dropped or its stand-in has them, and the cause is reported', async () => {
      await using scene = await makeScene();
      const { direct } = scene;
      const pair = [a, withStandIn] as const;
      const seen = async (): Promise<readonly unknown[]> => [
        ...(await Promise.all(pair.map((each) => scene.fateOf(each)))),
        ...pair.map(({ key }) => direct.isForwarding(key)),
        [...direct.obstacles().keys()],
      ];
      const end = start(direct);
      await direct.apply(table(scene, ...pair), signal);
      expect(await seen()).toEqual(['served', 'served', true, true, []]);
      let told = 0;
      const unsubscribe = direct.onForwarding(() => told++);
      scene.setAnswering(false);
      const names = scene.nodes.map((node) => node.name);
      await expect.poll(seen, patience).toEqual(['dropped', 'left', false, false, names]);
      const obstacles = direct.obstacles();
      expect(obstacles.get(names[0] as never)?.[4]).toBe('noAnswer');
      expect(await direct.apply(table(scene, ...pair, b), signal)).toEqual(new Map());
      expect(direct.obstacles()).toBe(obstacles);
      expect(told).toBe(1);
      scene.setAnswering(true);
      await expect.poll(seen, patience).toEqual(['served', 'served', true, true, []]);
      expect(told).toBe(2);
      unsubscribe();
      await direct.apply(table(scene), signal);
      expect([told, direct.obstacles().size]).toEqual([2, 0]);
      await end();
    });

    test('the families with a node on a link are known after the first table', async () => {
      await using scene = await makeScene();
      const { direct } = scene;
      expect([...direct.onLink()]).toEqual([]);
      await direct.apply(table(scene), signal); // also without a listener
      const onLink = direct.onLink();
      expect([...onLink]).toEqual([4]);
      await direct.apply(table(scene, a), signal);
      expect(direct.onLink()).toBe(onLink);
      scene.setOnLink(false);
      await direct.audit(signal);
      expect([[...direct.onLink()], direct.isForwarding(a.key), await scene.fateOf(a)]).toEqual([[], false, 'dropped']);
    });

    test('source ranges permit their clients; without a range a listener is closed', async () => {
      await using scene = await makeScene();
      const listeners = [within(a, '198.51.100.0/24'), within(b, '198.51.100.3', '10.0.0.0/8'), within(c)];
      expect(await scene.direct.apply(table(scene, ...listeners), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['served', 'dropped', 'dropped']);
      await scene.direct.apply(table(scene, a, b, c), signal);
      expect(await fates(scene)).toEqual(['served', 'served', 'served']);
    });

    test('a refused listener is reported and has no effect, all others are in force, and the next attempt may succeed', async () => {
      await using scene = await makeScene();
      const { direct } = scene;
      scene.setRefusing(true);
      const wanted = table(scene, a, within(b, '198.51.100.0/24', refusedRange));
      const [first, second] = [await direct.apply(wanted, signal), await direct.apply(wanted, signal)];
      expect([...first]).toEqual([[b.key, expect.stringMatching(/^nft: .+$/)]]);
      expect(second).toEqual(first);
      expect(await fates(scene)).toEqual(['served', 'left', 'left']);
      expect(forwarding(scene)).toEqual([true, false, false]);
      expect(await direct.audit(signal)).toBe(0);
      scene.setRefusing(false);
      expect(await direct.apply(wanted, signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['served', 'served', 'left']);
      expect(forwarding(scene)).toEqual([true, true, false]);
    });

    test('a refused change leaves the listener as it was, until it is accepted or removed', async () => {
      await using scene = await makeScene();
      const { direct } = scene;
      await direct.apply(table(scene, a, within(b)), signal);
      scene.setRefusing(true);
      const wanted = [a, b].map((each) => within(each, refusedRange, '198.51.100.0/24'));
      expect([...(await direct.apply(table(scene, ...wanted, c), signal)).keys()].toSorted()).toEqual([a.key, b.key]);
      expect(await fates(scene)).toEqual(['served', 'dropped', 'served']);
      expect(forwarding(scene)).toEqual([true, true, true]);
      expect(await direct.apply(table(scene, within(a, '198.51.100.3')), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['dropped', 'left', 'left']);
    });

    test('if nft accepts no change at all an apply throws, and the old state stays in force', async () => {
      await using scene = await makeScene();
      await scene.direct.apply(table(scene, a), signal);
      scene.breakAll(true);
      await expect(scene.direct.apply(table(scene, b), signal)).rejects.toThrow(/^nft: .+$/);
      expect(await fates(scene)).toEqual(['served', 'left', 'left']);
      expect(forwarding(scene)).toEqual([true, false, false]);
      scene.breakAll(false);
      expect(await scene.direct.apply(table(scene, b), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['left', 'served', 'left']);
      expect(forwarding(scene)).toEqual([false, true, false]);
      scene.breakAll(true);
      await expect(scene.direct.apply(table(scene), signal)).rejects.toThrow(/^nft: .+$/);
      scene.breakAll(false);
      expect(await scene.direct.apply(table(scene), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['left', 'left', 'left']);
    });

    test('an audit reverts an external change, counts it, and then finds no difference', async () => {
      await using scene = await makeScene();
      await scene.direct.apply(table(scene, a, b), signal);
      expect([await scene.direct.audit(signal), await scene.direct.check(signal)]).toEqual([0, 0]);
      await scene.remove(a);
      expect(await fates(scene)).toEqual(['left', 'served', 'left']);
      expect(await scene.direct.audit(signal)).toBe(1);
      expect(await fates(scene)).toEqual(['served', 'served', 'left']);
      expect(await scene.direct.audit(signal)).toBe(0);
    });

    test('before the first table and after a removal audits and checks repair nothing; another removal succeeds', async () => {
      await using scene = await makeScene();
      const { direct } = scene;
      expect([await direct.audit(signal), await direct.check(signal)]).toEqual([0, 0]);
      await direct.apply(table(scene, a), signal);
      expect(await direct.remove(signal)).toBe(true);
      expect(await direct.remove(signal)).toBe(false);
      expect([await direct.audit(signal), await direct.check(signal)]).toEqual([0, 0]);
      expect([await scene.fateOf(a), ...forwarding(scene)]).toEqual(['left', false, false, false]);
      expect(await direct.apply(table(scene, a), signal)).toEqual(new Map());
      expect([await scene.fateOf(a), ...forwarding(scene)]).toEqual(['served', true, false, false]);
    });

    test('the flows and packets of each listener are counted, and those from outside its source ranges', async () => {
      await using scene = await makeScene();
      const { direct } = scene;
      expect(await direct.counters(signal)).toEqual(new Map());
      const closed = within(b);
      await direct.apply(table(scene, a, closed, c), signal);
      for (const each of [a, a, closed]) await scene.fateOf(each);
      const counters = await direct.counters(signal);
      expect([...counters.keys()].toSorted()).toEqual([a.key, b.key, c.key]);
      expect(counters.get(a.key)).toMatchObject({ flows: 2, packets: 2, refused: 0 });
      expect(counters.get(b.key)).toEqual({ flows: 0, packets: 0, bytes: 0, refused: 1 });
      expect(counters.get(c.key)).toEqual({ flows: 0, packets: 0, bytes: 0, refused: 0 });
      const other = directListener(vip, 99);
      expect(await direct.counters(signal, [c.key, other.key])).toEqual(new Map([[c.key, counters.get(c.key)]]));
      await direct.remove(signal);
      expect(await direct.counters(signal)).toEqual(new Map());
    });

    test('an aborted call rejects with the reason', async () => {
      await using scene = await makeScene();
      const aborted = AbortSignal.abort(new Error('shutting down'));
      await expect(scene.direct.apply(table(scene, a), aborted)).rejects.toThrow('shutting down');
      expect(await scene.direct.apply(table(scene, a), signal)).toEqual(new Map());
    });

    test('run ends when its signal aborts', async () => {
      await using scene = await makeScene();
      const end = start(scene.direct);
      await scene.direct.apply(table(scene, a), signal);
      await expect(end()).resolves.toBeUndefined();
    });
  });
}

import { describe, expect, test, vi } from 'vitest';
import { parseRange } from '../../src/core/ip/range.ts';
import { type ListenerKey, serviceKey } from '../../src/core/model/names.ts';
import type { Listener, TrafficTable } from '../../src/core/traffic/table.ts';
import { usualCallMs } from '../../src/ports/call-times.ts';
import type { Nat } from '../../src/ports/nat.ts';
import { listener, natListener, node, tableOf } from '../make/table.ts';
import { patience } from '../netns/patience.ts';
import { fastestMs, timedScenes } from './in-time.ts';

/** The result of a datagram from a client, 10.10.0.2: a node answers, it is refused, or gets no answer. */
export type Fate = 'served' | 'refused' | 'dropped';

/** An unused `nat`, on a host that has the address 10.50.0.1; the nodes 10.20.0.11 and 10.20.0.12 serve port 30053. */
export type NatScene = AsyncDisposable & {
  readonly nat: Nat;
  fateOf(listener: Listener): Promise<Fate>;
  /** The kernel refuses a listener with more source ranges than this. */
  readonly mostRanges: number;
  /** From now on nft refuses everything, or accepts changes again. */
  breakAll(isBroken: boolean): void;
  /** From now on the kernel refuses questions about conntrack, or answers them again. */
  breakConntrack(isBroken: boolean): void;
  /** Another program removes a listener. */
  remove(listener: Listener): Promise<void>;
};

const { signal } = new AbortController();
const [a, b, c] = [53, 54, 55].map((port) => natListener('10.50.0.1', port, 30_053)) as [Listener, Listener, Listener];
const nodes = [node('n1', '10.20.0.11'), node('n2', '10.20.0.12')];
const table = (...listeners: readonly Listener[]): TrafficTable => tableOf(listeners, nodes);
const within = (each: Listener, ...ranges: readonly string[]): Listener =>
  natListener(each.address.text, each.port, each.targetPort, {
    sourceRanges: ranges.flatMap((text) => parseRange(text) ?? []),
  });

/** The contract of every implementation of the port. */
export function natContract(name: string, makeGiven: () => Promise<NatScene>): void {
  const makeScene = timedScenes(makeGiven, 'nat');
  const tooMany = ({ mostRanges }: NatScene, each: Listener): Listener =>
    within(each, '10.10.0.0/24', ...Array.from({ length: mostRanges }, (_, index) => `192.0.2.${index * 2}`));
  const fates = async (scene: NatScene): Promise<readonly Fate[]> => [
    await scene.fateOf(a),
    await scene.fateOf(b),
    await scene.fateOf(c),
  ];

  describe(`nat contract: ${name}`, () => {
    test('exactly the listeners of the table are served', async () => {
      await using scene = await makeScene();
      const { nat } = scene;
      for (let time = 0; time < 2; time++) expect(await nat.apply(table(a, b), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['served', 'served', 'refused']);
      await nat.apply(table(b, c), signal);
      expect(await fates(scene)).toEqual(['refused', 'served', 'served']);
      await nat.apply(table(), signal);
      expect(await fates(scene)).toEqual(['refused', 'refused', 'refused']);
    });

    test('what is prepared is served, except for a listener that another Service gets, which is refused until an apply', async () => {
      await using scene = await makeScene();
      const { nat } = scene;
      await nat.apply(table(a, b), signal);
      const other = natListener('10.50.0.1', 54, 30_053, {
        service: serviceKey('default', 'other'),
        uid: 'other' as never,
      });
      const words = 'the flows of the Service that had this port have not ended yet';
      expect(await nat.prepare(table(a, other, c), signal)).toEqual(new Map([[other.key, words]]));
      expect(await fates(scene)).toEqual(['served', 'refused', 'served']);
      expect(await nat.apply(table(a, other, c), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['served', 'served', 'served']);
    });

    test('a change of a listener takes no longer than a pass waits for it', async () => {
      await using scene = await makeScene();
      await scene.nat.apply(table(a), signal);
      const tookMs = await fastestMs(async () => {
        await scene.nat.apply(table(a, b), signal);
        await scene.nat.apply(table(a), signal);
      });
      expect(tookMs).toBeLessThanOrEqual(usualCallMs);
    });

    test('a listener of another dataplane is left alone, and one that moves there is served no more', async () => {
      await using scene = await makeScene();
      const moved = listener('10.50.0.1', 54, 30_053, { protocol: 'UDP' });
      await scene.nat.apply(table(a, b), signal);
      expect(await scene.nat.apply(table(a, moved), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['served', 'refused', 'refused']);
    });

    test('a listener that drains refuses new flows, and serves them again', async () => {
      await using scene = await makeScene();
      const draining = natListener('10.50.0.1', 53, 30_053, { isDraining: true });
      for (const each of [draining, a]) {
        expect(await scene.nat.apply(table(each, b), signal)).toEqual(new Map());
        expect(await fates(scene)).toEqual([each === a ? 'served' : 'refused', 'served', 'refused']);
        expect(await scene.nat.audit(signal)).toBe(0);
      }
    });

    test('exactly the listeners in force are counted', async () => {
      await using scene = await makeScene();
      const { nat } = scene;
      const counted = async (keys?: readonly ListenerKey[]): Promise<unknown> =>
        [...(await nat.counters(signal, keys))].toSorted(([one], [other]) => (one < other ? -1 : 1));
      const zero = { flows: 0, packetsIn: 0, bytesIn: 0, packetsOut: 0, bytesOut: 0, refused: 0 };
      expect(await counted()).toEqual([]);
      await nat.apply(table(a, b, listener('10.50.0.1', 80, 30_080)), signal);
      expect(await counted()).toEqual([a, b].map(({ key }) => [key, zero]));
      expect(await counted([a.key, c.key])).toEqual([[a.key, zero]]);
      await nat.apply(table(b), signal);
      expect(await counted()).toEqual([[b.key, zero]]);
    });

    test('without a node that takes flows a listener refuses, and serves again with one', async () => {
      await using scene = await makeScene();
      await scene.nat.apply(tableOf([a], []), signal);
      expect(await scene.fateOf(a)).toBe('refused');
      await scene.nat.apply(table(a), signal);
      expect(await scene.fateOf(a)).toBe('served');
      await scene.nat.apply(
        tableOf(
          [a],
          nodes.map((each) => ({ ...each, state: 'drain' })),
        ),
        signal,
      );
      expect(await scene.fateOf(b)).toBe('refused');
    });

    test('source ranges permit their clients; without a range a listener is closed', async () => {
      await using scene = await makeScene();
      const listeners = [within(a, '10.10.0.0/24'), within(b, '10.10.0.3', '192.0.2.0/24'), within(c)];
      expect(await scene.nat.apply(table(...listeners), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['served', 'dropped', 'dropped']);
      await scene.nat.apply(table(a, b, c), signal);
      expect(await fates(scene)).toEqual(['served', 'served', 'served']);
    });

    test('a refused listener is reported and stays as it was, and all others are in force', async () => {
      await using scene = await makeScene();
      await scene.nat.apply(table(within(b), c), signal);
      const refusals = await scene.nat.apply(table(a, tooMany(scene, b)), signal);
      expect([...refusals]).toEqual([[b.key, expect.stringMatching(/^nft: .+$/)]]);
      expect(await fates(scene)).toEqual(['served', 'dropped', 'refused']);
      expect(await scene.nat.audit(signal)).toBe(0);
      expect(await scene.nat.apply(table(a, b), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['served', 'served', 'refused']);
    });

    test('if nft accepts no change at all an apply throws, and the old state stays in force', async () => {
      await using scene = await makeScene();
      await scene.nat.apply(table(a), signal);
      scene.breakAll(true);
      await expect(scene.nat.apply(table(b), signal)).rejects.toThrow(/^nft: .+$/);
      expect(await fates(scene)).toEqual(['served', 'refused', 'refused']);
      scene.breakAll(false);
      expect(await scene.nat.apply(table(b), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['refused', 'served', 'refused']);
    });

    test('while conntrack cannot be asked, only a listener that another Service gets waits', async () => {
      await using scene = await makeScene();
      const { nat } = scene;
      const next = natListener('10.50.0.1', 53, 30_053, { service: serviceKey('test', 'next') });
      await nat.apply(table(a, b), signal);
      scene.breakConntrack(true);
      expect(await nat.apply(table(c), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['refused', 'refused', 'served']);
      expect([...(await nat.apply(table(next, b, c), signal))]).toEqual([
        [next.key, expect.stringContaining('could not be ended: ')],
      ]);
      expect(await fates(scene)).toEqual(['refused', 'served', 'served']);
      expect(await nat.audit(signal)).toBe(0);
      scene.breakConntrack(false);
      await vi.waitUntil(async () => {
        await nat.apply(table(b, c), signal); // as the agent does before it tries again
        return (await nat.apply(table(next, b, c), signal)).size === 0;
      }, patience);
      expect(await fates(scene)).toEqual(['served', 'served', 'served']);
    });

    test('a listener that another Service gets in one change is served', async () => {
      await using scene = await makeScene();
      const next = natListener('10.50.0.1', 53, 30_053, { service: serviceKey('test', 'next') });
      await scene.nat.apply(table(a, b), signal);
      expect(await scene.nat.apply(table(next, b), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['served', 'served', 'refused']);
    });

    test('an audit reverts an external change, counts it, and then finds no difference', async () => {
      await using scene = await makeScene();
      await scene.nat.apply(table(a, b), signal);
      expect([await scene.nat.audit(signal), await scene.nat.check(signal)]).toEqual([0, 0]);
      await scene.remove(a);
      expect(await fates(scene)).toEqual(['refused', 'served', 'refused']);
      expect(await scene.nat.audit(signal)).toBe(1);
      expect(await fates(scene)).toEqual(['served', 'served', 'refused']);
      expect(await scene.nat.audit(signal)).toBe(0);
    });

    test('before the first table and after a removal audits and checks repair nothing; another removal succeeds', async () => {
      await using scene = await makeScene();
      const { nat } = scene;
      expect([await nat.audit(signal), await nat.check(signal)]).toEqual([0, 0]);
      await nat.apply(table(a), signal);
      expect(await nat.remove(signal)).toBe(true);
      expect(await nat.remove(signal)).toBe(false);
      expect([await nat.audit(signal), await nat.check(signal)]).toEqual([0, 0]);
      expect(await scene.fateOf(a)).toBe('refused');
      expect(await nat.apply(table(a), signal)).toEqual(new Map());
      expect(await scene.fateOf(a)).toBe('served');
    });

    test('an aborted call rejects with the reason', async () => {
      await using scene = await makeScene();
      const aborted = AbortSignal.abort(new Error('shutting down'));
      await expect(scene.nat.apply(table(a), aborted)).rejects.toThrow('shutting down');
      expect(await scene.nat.apply(table(a), signal)).toEqual(new Map());
    });

    test('run ends when its signal aborts', async () => {
      await using scene = await makeScene();
      const stop = new AbortController();
      const running = scene.nat.run(stop.signal).catch((error: unknown) => {
        if (!stop.signal.aborted) throw error;
      });
      await scene.nat.apply(table(a), signal);
      stop.abort();
      await expect(running).resolves.toBeUndefined();
    });
  });
}

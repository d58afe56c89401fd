import { describe, expect, test } from 'vitest';
import { parseRange } from '../../src/core/ip/range.ts';
import type { Listener } from '../../src/core/traffic/table.ts';
import { steeringCallMs } from '../../src/ports/call-times.ts';
import type { Steering, SteeringTarget } from '../../src/ports/steering.ts';
import { addressesOf, directListener, listener, tableOf } from '../make/table.ts';
import { fastestMs, timedScenes } from './in-time.ts';

/** The result of a connection from a client, 10.10.0.2: it reaches the proxy, is reset, or gets no answer. */
export type Fate = 'steered' | 'refused' | 'dropped';

/** An unused steering, on a host with only the addresses 10.50.0.1 and 10.50.0.2. */
export type SteeringScene = AsyncDisposable & {
  readonly steering: Steering;
  /** Loopback port of the proxy. */
  readonly proxyPort: number;
  fateOf(listener: Listener): Promise<Fate>;
  /** The kernel refuses a listener with more source ranges than this. */
  readonly mostRanges: number;
  /** From now on nft refuses everything, or accepts changes again. */
  breakAll(isBroken: boolean): void;
  /** Another program removes a listener. */
  remove(listener: Listener): Promise<void>;
};

const { signal } = new AbortController();
const [a, b, c] = [
  listener('10.50.0.1', 80, 30_000),
  listener('10.50.0.1', 81, 30_000),
  listener('10.50.0.2', 80, 30_000),
];
const within = (each: Listener, ...ranges: readonly string[]): Listener =>
  listener(each.address.text, each.port, each.targetPort, {
    sourceRanges: ranges.flatMap((text) => parseRange(text) ?? []),
  });

/** The contract of every implementation of the port. */
export function steeringContract(name: string, makeGiven: () => Promise<SteeringScene>): void {
  const makeScene = timedScenes(makeGiven, 'steering');
  const target = ({ proxyPort }: SteeringScene, ...listeners: readonly Listener[]): SteeringTarget => ({
    listeners: tableOf(listeners).listeners,
    serverless: new Set(),
    vips: addressesOf('10.50.0.1', '10.50.0.2'),
    own: new Map(),
    portOf: () => proxyPort,
  });
  const tooMany = ({ mostRanges }: SteeringScene, each: Listener): Listener =>
    within(each, '10.10.0.0/24', ...Array.from({ length: mostRanges }, (_, index) => `192.0.2.${index * 2}`));
  const fates = async (scene: SteeringScene): Promise<readonly Fate[]> => [
    await scene.fateOf(a),
    await scene.fateOf(b),
    await scene.fateOf(c),
  ];

  describe(`steering contract: ${name}`, () => {
    test('exactly the listeners of the target are steered, everything else on the addresses is rejected', async () => {
      await using scene = await makeScene();
      const { steering } = scene;
      for (let time = 0; time < 2; time++) expect(await steering.apply(target(scene, a, b), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['steered', 'steered', 'refused']);
      await steering.apply(target(scene, b, c), signal);
      expect(await fates(scene)).toEqual(['refused', 'steered', 'steered']);
      await steering.apply(target(scene), signal);
      expect(await fates(scene)).toEqual(['refused', 'refused', 'refused']);
    });

    test('a change of a listener takes no longer than a pass waits for it', async () => {
      await using scene = await makeScene();
      await scene.steering.apply(target(scene, a), signal);
      const tookMs = await fastestMs(async () => {
        await scene.steering.apply(target(scene, a, b), signal);
        await scene.steering.apply(target(scene, a), signal);
      });
      expect(tookMs).toBeLessThanOrEqual(steeringCallMs);
    });

    test('a listener of another dataplane is neither steered nor refused, and one that moves there is steered no more', async () => {
      await using scene = await makeScene();
      const { steering } = scene;
      const { address, port } = b;
      const [beside, moved] = [
        directListener(a.address.text, a.port),
        directListener(address.text, port, { protocol: 'TCP' }),
      ];
      expect(await steering.apply(target(scene, a, b, beside), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['steered', 'steered', 'refused']);
      expect(await steering.apply(target(scene, a, moved, beside), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['steered', 'refused', 'refused']);
      expect(await steering.audit(signal)).toBe(0);
      expect(await steering.apply(target(scene, a, b), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['steered', 'steered', 'refused']);
    });

    test('source ranges permit their clients; without a range a listener is closed', async () => {
      await using scene = await makeScene();
      const listeners = [within(a, '10.10.0.0/24'), within(b, '10.10.0.3', '192.0.2.0/24'), within(c)];
      expect(await scene.steering.apply(target(scene, ...listeners), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['steered', 'dropped', 'dropped']);
      await scene.steering.apply(target(scene, a, b, c), signal);
      expect(await fates(scene)).toEqual(['steered', 'steered', 'steered']);
    });

    test('a listener that drains, or has no server, refuses new connections, until it does no longer', async () => {
      await using scene = await makeScene();
      const draining = listener(a.address.text, a.port, a.targetPort, { isDraining: true });
      const closed = { ...target(scene, draining, b, c), serverless: new Set([c.key]) };
      for (let time = 0; time < 2; time++) expect(await scene.steering.apply(closed, signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['refused', 'steered', 'refused']);
      expect(await scene.steering.audit(signal)).toBe(0);
      await scene.steering.apply({ ...closed, serverless: new Set() }, signal);
      expect(await fates(scene)).toEqual(['refused', 'steered', 'steered']);
      await scene.steering.apply(target(scene, a, b, c), signal);
      expect(await fates(scene)).toEqual(['steered', 'steered', 'steered']);
    });

    test('a refused listener is reported with the same message each time, and all others are in force', async () => {
      await using scene = await makeScene();
      const { steering } = scene;
      await steering.apply(target(scene, c), signal);
      const wanted = target(scene, a, tooMany(scene, b));
      const [first, second] = [await steering.apply(wanted, signal), await steering.apply(wanted, signal)];
      expect([...first]).toEqual([[b.key, expect.stringMatching(/^nft: .+$/)]]);
      expect(second).toEqual(first);
      expect(await fates(scene)).toEqual(['steered', 'refused', 'refused']);
      expect(await steering.audit(signal)).toBe(0);
    });

    test('a refused change leaves the listener as it was, until it is accepted or removed', async () => {
      await using scene = await makeScene();
      const { steering } = scene;
      await steering.apply(target(scene, a, within(b)), signal);
      const wanted = target(scene, tooMany(scene, a), tooMany(scene, b), c);
      expect([...(await steering.apply(wanted, signal)).keys()].toSorted()).toEqual([a.key, b.key]);
      expect(await fates(scene)).toEqual(['steered', 'dropped', 'steered']);
      expect(await steering.apply(target(scene, within(a, '10.10.0.3')), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['dropped', 'refused', 'refused']);
    });

    test('a refused listener of the first target blocks no other', async () => {
      await using scene = await makeScene();
      const refusals = await scene.steering.apply(target(scene, tooMany(scene, a), b, c), signal);
      expect([...refusals.keys()]).toEqual([a.key]);
      expect(await fates(scene)).toEqual(['refused', 'steered', 'steered']);
    });

    test('a protocol that cannot be steered is refused by name', async () => {
      await using scene = await makeScene();
      const udp = listener('10.50.0.1', 53, 30_000, { protocol: 'UDP' });
      const refusals = await scene.steering.apply(target(scene, udp, a), signal);
      expect([...refusals]).toEqual([[udp.key, expect.stringContaining('UDP')]]);
      expect(await scene.fateOf(a)).toBe('steered');
    });

    test('if nft accepts no change at all an apply throws, and the old state stays in force', async () => {
      await using scene = await makeScene();
      const { steering } = scene;
      await steering.apply(target(scene, a), signal);
      scene.breakAll(true);
      await expect(steering.apply(target(scene, b, c), signal)).rejects.toThrow(/^nft: .+$/);
      expect(await fates(scene)).toEqual(['steered', 'refused', 'refused']);
      scene.breakAll(false);
      expect(await steering.apply(target(scene, b, c), signal)).toEqual(new Map());
      expect(await fates(scene)).toEqual(['refused', 'steered', 'steered']);
    });

    test('an audit reverts an external change, counts it, and then finds no difference', async () => {
      await using scene = await makeScene();
      const { steering } = scene;
      await steering.apply(target(scene, a, b), signal);
      expect([await steering.audit(signal), await steering.check(signal)]).toEqual([0, 0]);
      await scene.remove(a);
      expect(await fates(scene)).toEqual(['refused', 'steered', 'refused']);
      expect(await steering.audit(signal)).toBe(1);
      expect(await fates(scene)).toEqual(['steered', 'steered', 'refused']);
      expect(await steering.audit(signal)).toBe(0);
    });

    test('before the first target and after a removal audits and checks repair nothing; another removal succeeds', async () => {
      await using scene = await makeScene();
      const { steering } = scene;
      expect([await steering.audit(signal), await steering.check(signal)]).toEqual([0, 0]);
      await steering.apply(target(scene, a), signal);
      expect(await steering.remove(signal)).toBe(true);
      expect(await steering.remove(signal)).toBe(false);
      expect([await steering.audit(signal), await steering.check(signal)]).toEqual([0, 0]);
      expect(await scene.fateOf(a)).toBe('refused');
      expect(await steering.apply(target(scene, a), signal)).toEqual(new Map());
      expect(await scene.fateOf(a)).toBe('steered');
    });

    test('an aborted call rejects with the reason', async () => {
      await using scene = await makeScene();
      const aborted = AbortSignal.abort(new Error('shutting down'));
      await expect(scene.steering.apply(target(scene, a), aborted)).rejects.toThrow('shutting down');
      expect(await scene.steering.apply(target(scene, a), signal)).toEqual(new Map());
    });

    test('run ends when its signal aborts', async () => {
      await using scene = await makeScene();
      const stop = new AbortController();
      const running = scene.steering.run(stop.signal).catch((error: unknown) => {
        if (!stop.signal.aborted) throw error;
      });
      await scene.steering.apply(target(scene, a), signal);
      stop.abort();
      await expect(running).resolves.toBeUndefined();
    });
  });
}

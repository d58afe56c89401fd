import { describe, expect, test } from 'vitest';
import { noLimits, plainProfile, plainServer } from '../../src/core/traffic/options.ts';
import type { Listener, TrafficTable } from '../../src/core/traffic/table.ts';
import { usualCallMs } from '../../src/ports/call-times.ts';
import { type Proxy, ProxyAbsentError } from '../../src/ports/proxy.ts';
import { directListener, listener } from '../make/table.ts';
import { allPrepared } from '../make/unprepared.ts';
import { fastestMs, timedScenes } from './in-time.ts';

/** An unused proxy, and the suite's actions on it from outside. */
export type ProxyScene = AsyncDisposable & {
  readonly proxy: Proxy;
  /** A table of these listeners over nodes that answer on {@link ProxyScene.targetPort}. */
  table(listeners: readonly Listener[]): TrafficTable;
  readonly targetPort: number;
  /** Whether a connection to the listener's address and port reaches a node. */
  serves(listener: Listener): Promise<boolean>;
  /** Ends the process; its memory is lost. */
  die(): Promise<void>;
  /** Removes a listener externally. */
  remove(listener: Listener): Promise<void>;
  /** From now on the process answers nothing and does nothing, but keeps its contents and its connections; or it continues. */
  hang(isHanging: boolean): Promise<void>;
  /** From now on no process can be started, or it can again. A running one continues. */
  preventStarts(isPrevented: boolean): Promise<void>;
  /** From now on no other configuration can be loaded, or it can again. */
  preventReloads(isPrevented: boolean): Promise<void>;
};

const { signal } = new AbortController();

/** The contract of every implementation of the port. */
export function proxyContract(name: string, makeGiven: () => Promise<ProxyScene>): void {
  const makeScene = timedScenes(makeGiven, 'proxy');
  const listeners = ({ targetPort }: ProxyScene): readonly [Listener, Listener, Listener] => [
    listener('10.50.0.1', 80, targetPort),
    listener('10.50.0.2', 80, targetPort),
    listener('fd50::1', 80, targetPort),
  ];

  describe(`proxy contract: ${name}`, () => {
    test('an upsert adds and does not remove, a prune leaves exactly the table, and both can be repeated', async () => {
      await using scene = await makeScene();
      const { proxy } = scene;
      const [a, b, c] = listeners(scene);
      for (let time = 0; time < 2; time++) expect(await proxy.upsert(scene.table([a, b]), signal)).toEqual(allPrepared);
      await proxy.prune(scene.table([a, b]), signal);
      expect([await scene.serves(a), await scene.serves(b), await scene.serves(c)]).toEqual([true, true, false]);
      await proxy.upsert(scene.table([b, c]), signal);
      expect([await scene.serves(a), await scene.serves(b), await scene.serves(c)]).toEqual([true, true, true]);
      for (let time = 0; time < 2; time++) await proxy.prune(scene.table([b, c]), signal);
      expect([await scene.serves(a), await scene.serves(b), await scene.serves(c)]).toEqual([false, true, true]);
      await proxy.prune(scene.table([a, b]), signal);
      expect([await scene.serves(a), await scene.serves(b), await scene.serves(c)]).toEqual([true, true, false]);
    });

    test('a change of a listener takes no longer than a pass waits for it', async () => {
      await using scene = await makeScene();
      const { proxy } = scene;
      const [a, b] = listeners(scene);
      await proxy.upsert(scene.table([a]), signal);
      const tookMs = await fastestMs(async () => {
        await proxy.upsert(scene.table([a, b]), signal);
        await proxy.prune(scene.table([a]), signal);
      });
      expect(tookMs).toBeLessThanOrEqual(usualCallMs);
    });

    test('a listener always has the same port, a privileged one', async () => {
      await using scene = await makeScene();
      const [a] = listeners(scene);
      expect(scene.proxy.portOf(a)).toBe(scene.proxy.portOf({ ...a }));
      expect(scene.proxy.portOf(a)).toBeLessThan(1024);
    });

    test('a listener of another dataplane is neither served nor refused, and one that moves there is removed', async () => {
      await using scene = await makeScene();
      const { proxy } = scene;
      const [a, b] = listeners(scene);
      const beside = directListener('10.50.0.1', 80);
      const moved = directListener('10.50.0.2', 80, { protocol: 'TCP' });
      for (const table of [scene.table([a, b, beside]), scene.table([a, moved])]) {
        expect(await proxy.upsert(table, signal)).toEqual(allPrepared);
        await proxy.prune(table, signal);
        expect(await proxy.audit(table, signal)).toBe(0);
        expect([await scene.serves(a), await scene.serves(b)]).toEqual([true, table.listeners.has(beside.key)]);
      }
      await proxy.upsert(scene.table([a, b]), signal);
      expect(await scene.serves(b)).toBe(true);
    });

    test('a listener that cannot be served is refused by name, and the others are in force', async () => {
      await using scene = await makeScene();
      const [a, b] = listeners(scene);
      const udp = listener('10.50.0.1', 53, scene.targetPort, { protocol: 'UDP' });
      const table = scene.table([udp, a]);
      const { refused } = await scene.proxy.upsert(table, signal);
      expect([...refused]).toEqual([[udp.key, expect.stringMatching(/^.*UDP.*$/)]]);
      await scene.proxy.prune(table, signal);
      expect(await scene.serves(a)).toBe(true);
      expect([...(await scene.proxy.upsert(scene.table([udp, a, b]), signal)).refused.keys()]).toEqual([udp.key]);
      expect(await scene.proxy.upsert(scene.table([a, b]), signal)).toEqual(allPrepared);
    });

    test('a listener whose profile needs a reload that cannot be made waits, and is served with the usual profile meanwhile', async () => {
      await using scene = await makeScene();
      const { proxy } = scene;
      const [a, b] = listeners(scene);
      const profile = { ...plainProfile, idleTimeoutMs: 90_000 };
      const wanted = { ...b, options: { limits: noLimits, server: plainServer, profile, isMeasured: false } };
      await proxy.upsert(scene.table([a]), signal);
      await scene.preventReloads(true);
      const { refused, deferred } = await proxy.upsert(scene.table([a, wanted]), signal);
      expect([refused, [...deferred]]).toEqual([new Map(), [[wanted.key, expect.stringMatching(/^.+$/)]]]);
      expect([await scene.serves(a), await scene.serves(wanted)]).toEqual([true, false]);
      expect(await proxy.upsert(scene.table([a, b]), signal)).toEqual(allPrepared);
      expect(await scene.serves(b)).toBe(true);
      await scene.preventReloads(false);
      await expect.poll(() => proxy.upsert(scene.table([a, wanted]), signal), { timeout: 15_000 }).toEqual(allPrepared);
      expect([await scene.serves(a), await scene.serves(wanted)]).toEqual([true, true]);
    });

    test('an audit repairs external changes, counts them, and then finds no difference', async () => {
      await using scene = await makeScene();
      const { proxy } = scene;
      const [a, b] = listeners(scene);
      const table = scene.table([a, b]);
      await proxy.upsert(table, signal);
      await proxy.prune(table, signal);
      expect(await proxy.audit(table, signal)).toBe(0);
      await scene.remove(a);
      expect(await scene.serves(a)).toBe(false);
      expect(await proxy.audit(table, signal)).toBe(1);
      expect([await scene.serves(a), await scene.serves(b)]).toEqual([true, true]);
      expect(await proxy.audit(table, signal)).toBe(0);
    });

    test('a check repairs a listener that another program has removed, and then finds no difference', async () => {
      await using scene = await makeScene();
      const { proxy } = scene;
      const [a, b] = listeners(scene);
      const table = scene.table([a, b]);
      await proxy.upsert(table, signal);
      await proxy.prune(table, signal);
      expect(await proxy.check(table, signal)).toBe(0);
      await scene.remove(a);
      expect(await proxy.check(table, signal)).toBe(1);
      expect([await scene.serves(a), await scene.serves(b)]).toEqual([true, true]);
      expect(await proxy.check(table, signal)).toBe(0);
    });

    test('a change after a death restores everything', async () => {
      await using scene = await makeScene();
      const { proxy } = scene;
      const [a, b, c] = listeners(scene);
      await proxy.upsert(scene.table([a, b]), signal);
      await proxy.prune(scene.table([a, b]), signal);
      await scene.die();
      expect(await scene.serves(a)).toBe(false);
      const table = scene.table([b, c]);
      await proxy.upsert(table, signal);
      expect([await scene.serves(b), await scene.serves(c)]).toEqual([true, true]);
    });

    test('a death between upsert and prune leaves the listeners of the table', async () => {
      await using scene = await makeScene();
      const { proxy } = scene;
      const [a, b, c] = listeners(scene);
      await proxy.upsert(scene.table([a, b]), signal);
      await proxy.upsert(scene.table([b, c]), signal);
      await scene.die();
      await proxy.prune(scene.table([b, c]), signal);
      expect([await scene.serves(a), await scene.serves(b), await scene.serves(c)]).toEqual([false, true, true]);
    });

    test('if no process can be started an upsert throws, a prune has nothing to remove, and both succeed when one can', async () => {
      await using scene = await makeScene();
      const { proxy } = scene;
      const [a] = listeners(scene);
      await scene.preventStarts(true);
      await expect(proxy.upsert(scene.table([a]), signal)).rejects.toThrow(ProxyAbsentError);
      await proxy.prune(scene.table([]), signal);
      await scene.preventStarts(false);
      await expect
        .poll(() => proxy.upsert(scene.table([a]), signal).catch(() => 'later'), { timeout: 15_000 })
        .toEqual(allPrepared);
      expect(await scene.serves(a)).toBe(true);
    });

    test('a change of a process that hangs is not made, and an abort ends it at once', async () => {
      await using scene = await makeScene();
      const { proxy } = scene;
      const [a, b] = listeners(scene);
      await proxy.upsert(scene.table([a]), signal);
      await scene.hang(true);
      const stop = new AbortController();
      const works = [proxy.upsert(scene.table([a, b]), stop.signal), proxy.prune(scene.table([a]), stop.signal)];
      const rejected = works.map((work) => expect(work).rejects.toThrow('shutting down'));
      expect([proxy.portOf(b), proxy.outage()]).toEqual([proxy.portOf(a), undefined]);
      stop.abort(new Error('shutting down'));
      await Promise.all(rejected);
      await scene.hang(false);
      expect([await scene.serves(a), await scene.serves(b)]).toEqual([true, false]);
      expect(await proxy.upsert(scene.table([a, b]), signal)).toEqual(allPrepared);
      expect([await scene.serves(a), await scene.serves(b)]).toEqual([true, true]);
    });

    test('changes that wait for a process that hangs are made in the order of the calls', async () => {
      await using scene = await makeScene();
      const { proxy } = scene;
      const [a, b, c] = listeners(scene);
      await proxy.upsert(scene.table([a, b]), signal);
      await scene.hang(true);
      const works = [
        proxy.audit(scene.table([a]), signal),
        proxy.upsert(scene.table([a, b, c]), signal),
        proxy.prune(scene.table([b, c]), signal),
      ];
      await scene.hang(false);
      await Promise.all(works);
      expect([await scene.serves(a), await scene.serves(b), await scene.serves(c)]).toEqual([false, true, true]);
    });

    test('after a stop no listener is served; another stop succeeds, and an upsert starts again', async () => {
      await using scene = await makeScene();
      const { proxy } = scene;
      const [a] = listeners(scene);
      await proxy.upsert(scene.table([a]), signal);
      expect(await proxy.stop(signal)).toBe(true);
      expect(await proxy.stop(signal)).toBe(false);
      expect(await scene.serves(a)).toBe(false);
      await expect(proxy.observe(signal)).rejects.toThrow(/.+/);
      expect([proxy.trouble(), proxy.outage()]).toEqual([undefined, undefined]);
      await proxy.upsert(scene.table([a]), signal);
      expect(await scene.serves(a)).toBe(true);
    });

    test('an aborted call rejects with the reason', async () => {
      await using scene = await makeScene();
      const [a] = listeners(scene);
      const aborted = AbortSignal.abort(new Error('shutting down'));
      await expect(scene.proxy.upsert(scene.table([a]), aborted)).rejects.toThrow('shutting down');
      expect(await scene.serves(a)).toBe(false);
    });

    test('run ends when its signal aborts', async () => {
      await using scene = await makeScene();
      const stop = new AbortController();
      const running = scene.proxy.run(stop.signal).catch((error: unknown) => {
        if (!stop.signal.aborted) throw error;
      });
      await scene.proxy.upsert(scene.table([]), signal);
      stop.abort();
      await expect(running).resolves.toBeUndefined();
    });
  });
}

import { describe, expect, test } from 'vitest';
import type { KubeProxy, KubeProxyAnswer, SyncEnd } from '../../src/health/kube-proxy-sync.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { addressOf } from '../make/table.ts';

/** A kube-proxy that has served for some time, and a Service of IPv4 in its cluster. */
export type KubeProxyScene = AsyncDisposable & {
  readonly kubeProxy: KubeProxy;
  readonly clock: Clock;
  /** The Service gets another address in its status. */
  publish(): Promise<void>;
  /** kube-proxy ends and starts again. */
  restart(): Promise<void>;
  /** Lets the time of the clock pass until the promise is settled. */
  drive<T>(promise: Promise<T>): Promise<T>;
};

const { signal } = new AbortController();
const node = addressOf('192.0.2.11');
/** Longer than a sync and `minSyncPeriod`. */
const quietMs = 2_500;
const everyMs = 20;

const until = async (
  { kubeProxy, clock }: KubeProxyScene,
  isWanted: (answer: KubeProxyAnswer) => boolean,
): Promise<KubeProxyAnswer> => {
  const untilMs = clock.monotonic() + 30_000;
  while (clock.monotonic() < untilMs) {
    const answer = await kubeProxy.ask(node, signal);
    if (answer !== undefined && isWanted(answer)) return answer;
    await clock.sleep(everyMs, signal);
  }
  throw new Error('no such answer within 30 s');
};

const syncOf = ({ syncs }: KubeProxyAnswer): SyncEnd => {
  const end = syncs?.[4];
  if (end === undefined) throw new Error('no sync');
  return end;
};

/** The next sync after `last`. */
const syncAfter = async (scene: KubeProxyScene, last: SyncEnd): Promise<SyncEnd> =>
  syncOf(await until(scene, (answer) => answer.syncs?.[4] !== undefined && syncOf(answer).id !== last.id));

/** The last sync, after a time without one. */
const quietSync = async (scene: KubeProxyScene): Promise<SyncEnd> =>
  syncOf(await until(scene, ({ sentMs, syncs }) => syncs?.[4] !== undefined && sentMs - syncs[4].endMs > quietMs));

const sentences: Readonly<Record<string, (scene: KubeProxyScene) => Promise<void>>> = {
  'a change is synced at once after a quiet time, and the sync ends after the change': async (scene) => {
    const publish = async (tries: number): Promise<{ readonly publishedMs: number; readonly endMs: number }> => {
      const before = await quietSync(scene);
      const publishedMs = scene.clock.monotonic();
      await scene.publish();
      const { endMs } = await syncAfter(scene, before);
      // In a real cluster something else may have changed just before.
      return endMs < publishedMs - 3 && tries > 1 ? await publish(tries - 1) : { publishedMs, endMs };
    };
    const { publishedMs, endMs } = await publish(3);
    expect(endMs).toBeGreaterThanOrEqual(publishedMs - 3);
    expect(endMs - publishedMs).toBeLessThan(quietMs);
    expect(await scene.kubeProxy.ask(node, signal)).toMatchObject({ isHealthy: true, isSameProcess: true });
  },
  'a change right after a sync is synced a second later at the earliest': async (scene) => {
    const before = await quietSync(scene);
    await scene.publish();
    const first = await syncAfter(scene, before);
    await scene.publish();
    const second = await syncAfter(scene, first);
    // kube-proxy waits for a second, but not from end to end: the first sync may have taken longer than the second.
    expect(second.endMs - first.endMs).toBeGreaterThan(900);
    expect(second.endMs - first.endMs).toBeLessThan(quietMs);
  },
  'a process that has started again answers on another connection, and then reports a sync of its own': async (
    scene,
  ) => {
    const before = await quietSync(scene);
    await scene.restart();
    const first = await until(scene, () => true);
    expect(first.isSameProcess).toBe(false);
    expect((await syncAfter(scene, before)).endMs).toBeGreaterThan(before.endMs);
    expect(await scene.kubeProxy.ask(node, signal)).toMatchObject({ isSameProcess: true });
  },
};

/** What furiwake relies on in the kube-proxy of a node (`src/health/kube-proxy-proof.ts`). */
export function kubeProxyContract(name: string, makeScene: () => Promise<KubeProxyScene>): void {
  describe(`kube-proxy contract: ${name}`, () => {
    test.each(Object.entries(sentences))('%s', async (_, say) => {
      await using scene = await makeScene();
      await expect(scene.drive(say(scene))).resolves.toBeUndefined();
    });
  });
}

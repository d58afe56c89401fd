import { unlessAborted } from '../../src/async/abort.ts';
import { makeLatch } from '../../src/async/latch.ts';
import type { ListenerKey } from '../../src/core/model/names.ts';
import type { KubeProxy, SyncEnd } from '../../src/health/kube-proxy-sync.ts';
import type { VirtualClock } from '../sim/virtual-clock.ts';

/** How long each step of a kube-proxy lasts, in ms. */
export type KubeProxyPace = {
  /** From a change in the API server to its arrival. */
  readonly lagMs: number;
  readonly syncMs: number;
  /** From the first answer of a process to the begin of `SyncLoop`, and from there to the complete list of Services. */
  readonly loopMs: number;
  readonly listMs: number;
};

/** A node with a kube-proxy that syncs, restarts and answers as that of Kubernetes 1.37, in virtual time. */
export type FakeKubeProxy = KubeProxy & {
  /** A change in the API server: a listener that is published or not, or an unrelated Service. */
  change(listener?: ListenerKey, isPublished?: boolean): void;
  /** Its rules survive. */
  restart(downMs: number): Promise<void>;
  /** Its rules are lost. */
  reboot(downMs: number): Promise<void>;
  /** Neither furiwake nor the API server reaches the node, and no connection ends. */
  setCut(isCut: boolean): void;
  /** True if packets of the listener that arrive now are not routed back. */
  isSafe(listener: ListenerKey): boolean;
  /** When it was asked, monotonic ms. */
  readonly askedAt: readonly number[];
  /** Requests at the same time, at most. */
  readonly mostAtOnce: number;
  readonly isClosed: boolean;
  isHealthy: boolean;
  /** As kube-proxy before Kubernetes 1.34: without the times of its syncs. */
  isOld: boolean;
};

const minSyncPeriodMs = 1_000;

export function makeFakeKubeProxy(clock: VirtualClock, pace: KubeProxyPace): FakeKubeProxy {
  const api = new Set<ListenerKey>();
  const askedAt: number[] = [];
  let rules: ReadonlySet<ListenerKey> = new Set();
  let process: { readonly life: AbortController; stamp?: SyncEnd; receive?: (apply: Change) => void } | undefined;
  let connectedTo: object | undefined;
  let cut: PromiseWithResolvers<void> | undefined;
  let stamps = 0;
  let atOnce = 0;
  let mostAtOnce = 0;
  let isClosed = false;

  const connected = async (signal: AbortSignal): Promise<void> => {
    if (cut) await unlessAborted(cut.promise, signal);
  };

  const start = async (): Promise<void> => {
    const life = new AbortController();
    const { signal } = life;
    const mine: NonNullable<typeof process> = { life };
    process = mine;
    const stampNow = (): void => {
      mine.stamp = { id: String(++stamps), endMs: clock.monotonic() };
    };
    await clock.sleep(pace.loopMs, signal);
    stampNow(); // `SyncLoop` does that before any sync
    await clock.sleep(pace.listMs, signal);
    await connected(signal);
    const services = new Set(api);
    const due = makeLatch();
    mine.receive = (apply) => {
      const arrive = async (): Promise<void> => {
        await connected(signal);
        await clock.sleep(pace.lagMs, signal);
        await connected(signal);
        apply(services);
        due.set();
      };
      void arrive().catch(() => undefined); // it ended meanwhile
    };
    const sync = async (): Promise<void> => {
      const content = new Set(services);
      await clock.sleep(pace.syncMs, signal);
      rules = content;
      stampNow();
    };
    await sync();
    for (;;) {
      await due.wait(signal);
      await sync();
      await clock.sleep(minSyncPeriodMs, signal);
    }
  };

  const stop = async (downMs: number): Promise<void> => {
    process?.life.abort();
    process = undefined;
    await clock.sleep(downMs, new AbortController().signal);
    if (process === undefined) void start().catch(() => undefined); // it ended
  };

  const answer = async (sentMs: number, signal: AbortSignal): ReturnType<KubeProxy['ask']> => {
    await clock.sleep(1, signal);
    const isCut = cut !== undefined;
    if (isCut) await clock.sleep(499, signal);
    const isSameProcess = !isCut && process !== undefined && connectedTo === process;
    connectedTo = isCut ? undefined : process;
    if (connectedTo === undefined || process === undefined) return undefined;
    const { stamp } = process;
    const end = fake.isOld || stamp === undefined ? undefined : { ...stamp, endMs: stamp.endMs - 2 };
    return { sentMs, isHealthy: fake.isHealthy, isSameProcess, syncs: end && { 4: end, 6: end } };
  };

  const fake: FakeKubeProxy = {
    ask: async (_, signal) => {
      askedAt.push(clock.monotonic());
      mostAtOnce = Math.max(mostAtOnce, ++atOnce);
      try {
        return await answer(clock.monotonic(), signal);
      } finally {
        atOnce--;
      }
    },
    close: () => {
      isClosed = true;
      connectedTo = undefined;
    },
    change: (listener, isPublished = true) => {
      const apply: Change = (services) => {
        if (listener === undefined) return;
        if (isPublished) services.add(listener);
        else services.delete(listener);
      };
      apply(api);
      process?.receive?.(apply);
    },
    restart: stop,
    reboot: async (downMs) => {
      rules = new Set();
      await stop(downMs);
    },
    setCut: (isCut) => {
      if (isCut) cut ??= Promise.withResolvers();
      else {
        cut?.resolve();
        cut = undefined;
      }
    },
    isSafe: (listener) => cut !== undefined || rules.has(listener),
    askedAt,
    get mostAtOnce() {
      return mostAtOnce;
    },
    get isClosed() {
      return isClosed;
    },
    isHealthy: true,
    isOld: false,
  };
  void start().catch(() => undefined); // it ended
  return fake;
}

type Change = (services: Set<ListenerKey>) => void;

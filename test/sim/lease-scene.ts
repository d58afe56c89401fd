import { type Lease, type LeaseLoss, makeLease } from '../../src/kube/lease.ts';
import type { Acquisition } from '../../src/kube/lease-attempts.ts';
import type { LeaseHolder } from '../../src/kube/lease-observer.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type Harness, makeHarness } from './harness.ts';
import { recordLog } from './observers.ts';
import { seededRandom, type VirtualClock, virtualClock } from './virtual-clock.ts';

/** A host's side of the Lease, and what it said. */
export type HostLease = Lease & { readonly log: ReturnType<typeof recordLog>; readonly others: readonly string[] };

/** The Lease `kube-system/furiwake` on a simulated server, in virtual time. */
export type LeaseScene = AsyncDisposable & {
  readonly server: SimApiServer;
  readonly harness: Harness;
  readonly clock: VirtualClock;
  readonly lease: (identity: string) => HostLease;
  /** Aborts with the scene. */
  readonly newStop: () => AbortController;
  /** Waits for the Lease; records the reported holders, in order. */
  readonly waiting: (identity: string) => {
    readonly mine: HostLease;
    readonly told: readonly LeaseHolder[];
    readonly acquired: Promise<Acquisition>;
    readonly stop: AbortController;
  };
  /** A Lease that is held by `identity`, and its end. */
  readonly held: (identity: string) => Promise<{
    readonly mine: HostLease;
    readonly stop: AbortController;
    readonly loss: Promise<LeaseLoss | undefined>;
  }>;
  /** Lets time pass, waiting for the answers of the requests that it causes. */
  readonly pass: (ms: number) => Promise<void>;
  readonly record: () => Readonly<Record<string, unknown>> | undefined;
  readonly holder: () => unknown;
  readonly candidates: () => Readonly<Record<string, string>>;
  readonly requestsOf: (...verbs: readonly string[]) => number;
};

export async function leaseScene(): Promise<LeaseScene> {
  const server = await startSimApiServer({ seed: 3 });
  const clock = virtualClock();
  const harness = await makeHarness(server, { clock });
  const random = seededRandom(5);
  const stops: AbortController[] = [];
  const object = (): ReturnType<SimApiServer['get']> => server.get('Lease', 'kube-system/furiwake');
  const record = (): Readonly<Record<string, unknown>> | undefined => object()?.spec;

  const newStop = (): AbortController => {
    const stop = new AbortController();
    stops.push(stop);
    return stop;
  };
  const lease = (identity: string): HostLease => {
    const log = recordLog();
    const others: string[] = [];
    const made = makeLease({
      client: harness.client,
      namespace: 'kube-system',
      name: 'furiwake',
      identity,
      mayBeServed: () => Promise.resolve(false),
      clock,
      random,
      log,
      onOther: (other) => others.push(other),
    });
    return { ...made, log, others };
  };

  return {
    server,
    harness,
    clock,
    lease,
    newStop,
    waiting: (identity) => {
      const mine = lease(identity);
      const stop = newStop();
      const told: LeaseHolder[] = [];
      const acquired = mine.acquire(stop.signal, (of) => told.push(of));
      acquired.catch(() => undefined);
      return { mine, told, acquired, stop };
    },
    held: async (identity) => {
      const mine = lease(identity);
      const stop = newStop();
      await mine.acquire(stop.signal);
      return { mine, stop, loss: mine.hold(stop.signal) };
    },
    pass: async (ms) => {
      for (let done = 0; done < ms; done += 1_000) {
        await clock.advance(1_000);
        await harness.settled();
      }
    },
    record,
    holder: () => record()?.['holderIdentity'],
    candidates: () =>
      JSON.parse(object()?.metadata.annotations?.['furiwake.dev/candidates'] ?? '{}') as Record<string, string>,
    requestsOf: (...verbs) => server.requests.filter(({ verb }) => verbs.includes(verb)).length,
    [Symbol.asyncDispose]: async () => {
      for (const stop of stops) stop.abort();
      await harness[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

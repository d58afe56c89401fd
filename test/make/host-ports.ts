import type { ListenerKey } from '../../src/core/model/names.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import { emptyTable, type Listener, type TrafficTable } from '../../src/core/traffic/table.ts';
import type { Health } from '../../src/ports/health.ts';
import type { Addresses, Advertiser, Host, Placement, Steering, SteeringTarget } from '../../src/ports/host.ts';
import type { Proxy } from '../../src/ports/proxy.ts';
import { makeFakeHost } from './fake-host.ts';
import { type FakePlacement, makeFakePlacement } from './fake-placement.ts';
import { makeFakeSteering } from './fake-steering.ts';
import type { ip } from './service.ts';

/** A step of the ports, as `port.function`. */
export type StepName =
  | 'proxy.upsert'
  | 'proxy.prune'
  | 'proxy.audit'
  | 'steering.apply'
  | 'steering.audit'
  | 'placement.add'
  | 'placement.remove'
  | 'placement.audit'
  | 'host.endConnections';

/**
 * The ports of a host, in memory: they note what they are asked, hold what they took, and fail as they are told to. Each
 * keeps to the contract of its port (test/contract/).
 */
export type FakeHostPorts = Pick<FakePlacement, 'setOwn' | 'setRefused' | 'tellNetwork'> & {
  readonly proxy: Proxy;
  readonly steering: Steering;
  /** Another program changes what the kernel holds of the nftables table. */
  changeSteering(change: (held: SteeringTarget) => SteeringTarget): void;
  readonly placement: Placement;
  readonly advertiser: Advertiser;
  readonly host: Host;
  readonly health: Health;
  /** What was asked, in order. */
  readonly steps: string[];
  /** Steps that throw, each with the words of the error; a function decides at each call. */
  readonly failing: Map<StepName, string | (() => string | undefined)>;
  /** Listeners that HAProxy or nft refuse on their own. */
  readonly refuses: {
    proxy: (listener: Listener) => string | undefined;
    steering: (listener: Listener) => string | undefined;
  };
  /** What HAProxy, the kernel and the host hold. */
  readonly held: {
    proxy: TrafficTable['listeners'];
    readonly steering: SteeringTarget;
    readonly placed: Map<string, ReturnType<typeof ip>>;
    advertised: Addresses;
  };
  /** HAProxy exits: it holds nothing until the next change or audit. */
  dieProxy(): void;
  /** What every step waits for. */
  gate: Promise<void>;
  setHealth(verdicts: ReturnType<Health['verdicts']>): void;
};

export function makeHostPorts(): FakeHostPorts {
  const steps: string[] = [];
  const failing: FakeHostPorts['failing'] = new Map();
  const refuses: FakeHostPorts['refuses'] = { proxy: () => undefined, steering: () => undefined };
  const proxyRefusals = (listeners: TrafficTable['listeners']): Map<ListenerKey, string> =>
    refusalsOf(listeners, (listener) =>
      listener.protocol === 'TCP' ? refuses.proxy(listener) : `HAProxy cannot serve ${listener.protocol}`,
    );
  const served = (listeners: TrafficTable['listeners']): TrafficTable['listeners'] =>
    listeners.with(Array.from(proxyRefusals(listeners).keys(), (key) => [key, undefined]));
  const fakeSteering = makeFakeSteering({
    refuse: (listener) => refuses.steering(listener),
    step: (name) => step(`steering.${name}`),
  });
  const held: FakeHostPorts['held'] = {
    proxy: emptyTable.listeners,
    get steering() {
      return fakeSteering.held;
    },
    placed: new Map(),
    advertised: PersistentMap.empty(),
  };
  let verdicts: ReturnType<Health['verdicts']> = new Map();
  const healthListeners = new Set<() => void>();
  const ports = { gate: Promise.resolve() };
  const step = async (name: StepName, shown: string = name): Promise<void> => {
    steps.push(shown);
    await ports.gate;
    const failure = failing.get(name);
    const words = typeof failure === 'function' ? failure() : failure;
    if (words !== undefined) throw new Error(words);
  };
  const untilAborted = (signal: AbortSignal): Promise<void> =>
    new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  const refusalsOf = (
    listeners: TrafficTable['listeners'],
    refusal: (listener: Listener) => string | undefined,
  ): Map<ListenerKey, string> => {
    const refusals = new Map<ListenerKey, string>();
    for (const listener of listeners.values()) {
      const words = refusal(listener);
      if (words !== undefined) refusals.set(listener.key, words);
    }
    return refusals;
  };
  const { placement, ...hostAddresses } = makeFakePlacement((name) => step(name), held.placed);

  return Object.assign(ports, hostAddresses, {
    steps,
    failing,
    refuses,
    held,
    proxy: {
      portOf: () => 292,
      upsert: async ({ listeners }, signal) => {
        await step('proxy.upsert');
        signal.throwIfAborted();
        held.proxy = held.proxy.with(served(listeners));
        return proxyRefusals(listeners);
      },
      prune: async ({ listeners }, signal) => {
        await step('proxy.prune');
        signal.throwIfAborted();
        held.proxy = served(listeners);
      },
      audit: async ({ listeners }, signal) => {
        await step('proxy.audit');
        signal.throwIfAborted();
        const repairs = PersistentMap.changedKeys(held.proxy, served(listeners)).length;
        held.proxy = served(listeners);
        return repairs;
      },
      run: untilAborted,
      observe: () => Promise.reject(new Error('not asked here')),
      trouble: () => undefined,
      stop: async () => {
        held.proxy = emptyTable.listeners;
      },
    } satisfies Proxy,
    steering: fakeSteering.steering,
    placement,
    advertiser: {
      advertise: (addresses) => {
        held.advertised = addresses;
      },
      again: (addresses) => void steps.push(`again ${addresses.map(({ text }) => text).join(' ')}`),
      run: untilAborted,
    } satisfies Advertiser,
    host: makeFakeHost((listeners) => step('host.endConnections', `end ${listeners.map(({ port }) => port).join(' ')}`))
      .host,
    health: {
      verdicts: () => verdicts,
      subscribe: (listener) => {
        healthListeners.add(listener);
        return () => void healthListeners.delete(listener);
      },
    } satisfies Health,
    changeSteering: (change: (held: SteeringTarget) => SteeringTarget) => {
      fakeSteering.held = change(fakeSteering.held);
    },
    dieProxy: () => {
      held.proxy = emptyTable.listeners;
    },
    setHealth: (next: ReturnType<Health['verdicts']>) => {
      verdicts = next;
      for (const tell of healthListeners) tell();
    },
  });
}

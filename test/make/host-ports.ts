import type { Clock } from '../../src/ports/clock.ts';
import { makeSubscribers } from '../../src/async/subscribers.ts';
import type { Family } from '../../src/core/ip/ip.ts';
import type { ListeningSocket } from '../../src/core/model/host.ts';
import type { ListenerKey } from '../../src/core/model/names.ts';
import { PersistentMap } from '../../src/core/persistent-map.ts';
import type { DirectObstacles } from '../../src/core/traffic/report.ts';
import { unlessAborted, untilAborted } from '../../src/async/abort.ts';
import { emptyTable, type Listener, type TrafficTable, usesHaproxy } from '../../src/core/traffic/table.ts';
import type { Health, NodeChecks } from '../../src/ports/health.ts';
import type { Advertiser, DuplicateProbe } from '../../src/ports/advertiser.ts';
import type { Addresses, Host } from '../../src/ports/host.ts';
import type { HostNetwork } from '../../src/ports/network.ts';
import type { Placement } from '../../src/ports/placement.ts';
import type { Steering, SteeringTarget } from '../../src/ports/steering.ts';
import type { Proxy } from '../../src/ports/proxy.ts';
import { makeFakeHost } from './fake-host.ts';
import type { Direct } from '../../src/ports/direct.ts';
import type { Nat } from '../../src/ports/nat.ts';
import { makeFakeAdvertiser } from './fake-advertiser.ts';
import { makeFakeDirect } from './fake-direct.ts';
import { type FakeNetwork, makeFakeNetwork } from './fake-network.ts';
import { makeFakeNat } from './fake-nat.ts';
import type { FakeOutage } from './fake-outage.ts';
import { makeFakeSteering } from './fake-steering.ts';
import { unasked } from './unasked.ts';
import type { ip } from './service.ts';

/** A step of the ports, as `port.function`. */
export type StepName =
  | `proxy.${'upsert' | 'prune' | 'audit' | 'check'}`
  | `${'steering' | 'direct' | 'nat'}.${'apply' | 'audit' | 'check'}`
  | `${'direct' | 'nat'}.prepare`
  | `placement.${'add' | 'remove' | 'audit' | 'check' | 'keepUntil'}`
  | `host.${'listening' | 'endConnections'}`;

/**
 * The ports of a host, in memory: they record their calls, keep accepted values, and fail as configured. Each conforms
 * to the contract of its port (test/contract/).
 */
export type FakeHostPorts = Pick<
  FakeNetwork,
  'expiry' | 'setOwn' | 'loseDefaultRoute' | 'setNeeds' | 'setRouted' | 'setRefused' | 'tellNetwork' | 'setCarrier'
> & {
  readonly proxy: Proxy;
  readonly steering: Steering;
  readonly direct: Direct;
  /** No node is known to serve a listener of `direct`, or all are. */
  closeDirect(isClosed: boolean, why?: DirectObstacles): void;
  readonly nat: Nat;
  /** Nodes are in LANs of the host, in these families. */
  setOnLink(families: ReadonlySet<Family>): void;
  /** Another program changes the nftables table in the kernel. */
  changeSteering(change: (held: SteeringTarget) => SteeringTarget): void;
  readonly network: HostNetwork;
  readonly placement: Placement;
  readonly advertiser: Advertiser;
  readonly duplicateProbe: DuplicateProbe;
  readonly host: Host;
  readonly health: Health & NodeChecks;
  /** The calls, in order. */
  readonly steps: string[];
  /** Steps that throw, each with the message of the error; a function decides at each call. */
  readonly failing: Map<StepName, string | Error | (() => string | undefined)>;
  /** Listeners that HAProxy or nft refuse. */
  readonly refuses: {
    proxy: (listener: Listener) => string | undefined;
    /** HAProxy needs a reload for the profile of the listener. */
    profile: (listener: Listener) => string | undefined;
    steering: (listener: Listener) => string | undefined;
    /** nft refuses to remove them. */
    removal: (listener: Listener) => string | undefined;
  };
  /** The contents of HAProxy, the kernel and the host. */
  readonly held: {
    proxy: TrafficTable['listeners'];
    readonly steering: SteeringTarget;
    readonly direct: TrafficTable['listeners'];
    readonly nat: TrafficTable['listeners'];
    readonly placed: Map<string, ReturnType<typeof ip>>;
    readonly advertised: Addresses;
    /** Every address that was ever put on the host or advertised. */
    readonly attracted: Set<string>;
  };
  /** Sockets of the host's programs. */
  listening: readonly ListeningSocket[];
  /** HAProxy exits: it has no listeners until the next change or audit. */
  dieProxy(): void;
  /** Every step waits for this. */
  gate: Promise<void>;
  /** Steps that do not end before their promise does, or their signal aborts. */
  readonly hanging: Map<StepName, Promise<void>>;
  setHealth(verdicts: ReturnType<Health['verdicts']>): void;
  /** All servers of these listeners fail checks of their own. */
  setFailing(listeners: ReadonlySet<ListenerKey>): void;
  /** HAProxy takes no connections: why. */
  setOutage(words: string | undefined): void;
  readonly outages: Readonly<Record<'steering' | 'direct' | 'nat', FakeOutage>>;
  /** The servers of these listeners refuse the header of the PROXY protocol. */
  setRefusingHeaders(listeners: ReadonlySet<ListenerKey>): void;
  /** Another machine on the LAN has these addresses: text → MAC. */
  setDuplicates(duplicates: ReadonlyMap<string, string>): void;
};

export function makeHostPorts(clock: Clock): FakeHostPorts {
  const steps: string[] = [];
  const hanging: FakeHostPorts['hanging'] = new Map();
  const failing: FakeHostPorts['failing'] = new Map();
  const refuses: FakeHostPorts['refuses'] = {
    proxy: () => undefined,
    profile: () => undefined,
    steering: () => undefined,
    removal: () => undefined,
  };
  const proxyRefusals = (listeners: TrafficTable['listeners']): Map<ListenerKey, string> =>
    refusalsOf(listeners, (listener) => {
      if (!usesHaproxy(listener)) return undefined;
      return listener.protocol === 'TCP'
        ? (refuses.proxy(listener) ?? refuses.profile(listener))
        : `HAProxy cannot serve ${listener.protocol}`;
    });
  /** A refused listener stays as it was. */
  const served = (listeners: TrafficTable['listeners']): TrafficTable['listeners'] => {
    const refused = proxyRefusals(listeners);
    const others = [...listeners.values()].filter((each) => !usesHaproxy(each) || refused.has(each.key));
    return listeners.with(others.map(({ key }) => [key, refused.has(key) ? held.proxy.get(key) : undefined]));
  };
  const fakeSteering = makeFakeSteering({
    refuse: (listener) => refuses.steering(listener),
    refuseRemoval: (listener) => refuses.removal(listener),
    step: (name) => step(`steering.${name}`),
  });
  const fakeDirect = makeFakeDirect({ step: (name) => step(`direct.${name}`) });
  const fakeNat = makeFakeNat({ step: (name) => step(`nat.${name}`) });
  const attracted = new Set<string>();
  const fakeAdvertiser = makeFakeAdvertiser(attracted, clock);
  const held: FakeHostPorts['held'] = {
    get direct() {
      return fakeDirect.held;
    },
    get nat() {
      return fakeNat.held.listeners;
    },
    proxy: emptyTable.listeners,
    get steering() {
      return fakeSteering.held;
    },
    placed: new Map(),
    get advertised() {
      return fakeAdvertiser.advertised();
    },
    attracted,
  };
  let withoutServers: ReadonlySet<ListenerKey> = new Set();
  let refusingHeaders: ReadonlySet<ListenerKey> = new Set();
  const serverNews = makeSubscribers();
  let outage: string | undefined;
  const troubleNews = makeSubscribers();
  let verdicts: ReturnType<Health['verdicts']> = new Map();
  const healthListeners = new Set<() => void>();
  const ports: Pick<FakeHostPorts, 'gate' | 'listening'> = {
    gate: Promise.resolve(),
    listening: [],
  };
  const step = async (name: StepName, shown: string = name, signal?: AbortSignal): Promise<void> => {
    steps.push(shown);
    await ports.gate;
    const end = hanging.get(name);
    if (end !== undefined) await (signal === undefined ? end : unlessAborted(end, signal));
    const failure = failing.get(name);
    const words = typeof failure === 'function' ? failure() : failure;
    if (words !== undefined) throw words instanceof Error ? words : new Error(words);
  };
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
  const fakeNetwork = makeFakeNetwork({ step: (name) => step(name), placed: held.placed, clock });
  const noted = async (addresses: ReturnType<Placement['add']>): ReturnType<Placement['add']> => {
    for (const { text } of await addresses) held.attracted.add(text);
    return addresses;
  };
  const placement: Placement = {
    ...fakeNetwork.placement,
    add: (wanted, signal) => noted(fakeNetwork.placement.add(wanted, signal)),
    audit: (wanted, signal) => noted(fakeNetwork.placement.audit(wanted, signal)),
    check: (wanted, signal) => noted(fakeNetwork.placement.check(wanted, signal)),
  };

  return Object.assign(ports, fakeNetwork, {
    steps,
    failing,
    hanging,
    refuses,
    held,
    placement,
    proxy: {
      portOf: () => 292,
      upsert: async ({ listeners }, signal) => {
        await step('proxy.upsert', undefined, signal);
        signal.throwIfAborted();
        held.proxy = held.proxy.with(served(listeners));
        const refusals = proxyRefusals(listeners);
        const waits = (key: ListenerKey, words: string): boolean => words === refuses.profile(listeners.get(key)!);
        return {
          refused: new Map([...refusals].filter(([key, words]) => !waits(key, words))),
          deferred: new Map([...refusals].filter(([key, words]) => waits(key, words))),
        };
      },
      prune: async ({ listeners }, signal) => {
        await step('proxy.prune', undefined, signal);
        signal.throwIfAborted();
        held.proxy = served(listeners);
      },
      audit: async ({ listeners }, signal) => {
        await step('proxy.audit', undefined, signal);
        signal.throwIfAborted();
        const repairs = PersistentMap.changedKeys(held.proxy, served(listeners)).length;
        held.proxy = served(listeners);
        return repairs;
      },
      check: async ({ listeners }, signal) => {
        await step('proxy.check', undefined, signal);
        signal.throwIfAborted();
        const repairs = Math.abs(held.proxy.size - served(listeners).size);
        if (repairs > 0) held.proxy = served(listeners);
        return repairs;
      },
      run: untilAborted,
      ...unasked,
      trouble: () => {
        const failure = failing.get('proxy.upsert'); // a HAProxy that cannot start
        if (failure instanceof Error) return failure.message;
        return typeof failure === 'string' ? failure : undefined;
      },
      outage: () => outage,
      onTrouble: troubleNews.subscribe,
      failing: () => withoutServers,
      refusingHeaders: () => refusingHeaders,
      onServers: serverNews.subscribe,
      stop: async () => {
        const wasThere = held.proxy.size > 0;
        held.proxy = emptyTable.listeners;
        return wasThere;
      },
    } satisfies Proxy,
    steering: fakeSteering.steering,
    direct: fakeDirect.direct,
    setOnLink: (families: ReadonlySet<Family>) => fakeDirect.setOnLink(families),
    closeDirect: (isClosed: boolean, why?: DirectObstacles) => fakeDirect.setClosed(isClosed, why),
    nat: fakeNat.nat,
    ...fakeAdvertiser,
    host: makeFakeHost({
      listening: async (signal) => {
        await step('host.listening', undefined, signal);
        return ports.listening;
      },
      beforeEnd: (listeners) => step('host.endConnections', `end ${listeners.map(({ port }) => port).join(' ')}`),
    }),
    health: {
      verdicts: () => verdicts,
      subscribe: (listener) => {
        healthListeners.add(listener);
        return () => void healthListeners.delete(listener);
      },
      run: (_, signal) => untilAborted(signal),
    } satisfies Health & NodeChecks,
    changeSteering: (change: (held: SteeringTarget) => SteeringTarget) => {
      fakeSteering.held = change(fakeSteering.held);
    },
    dieProxy: () => {
      held.proxy = emptyTable.listeners;
    },
    setFailing: (listeners: ReadonlySet<ListenerKey>) => {
      withoutServers = listeners;
      serverNews.tell();
    },
    setOutage: (words: string | undefined) => {
      outage = words;
      troubleNews.tell();
    },
    outages: { steering: fakeSteering.outage, direct: fakeDirect.outage, nat: fakeNat.outage },
    setRefusingHeaders: (listeners: ReadonlySet<ListenerKey>) => {
      refusingHeaders = listeners;
      serverNews.tell();
    },
    setHealth: (next: ReturnType<Health['verdicts']>) => {
      verdicts = next;
      for (const tell of healthListeners) tell();
    },
  });
}

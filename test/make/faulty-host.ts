import { makeSerial } from '../../src/async/serial.ts';
import type { ListenerKey } from '../../src/core/model/names.ts';
import { emptyTable, type Listener, usesHaproxy } from '../../src/core/traffic/table.ts';
import { makeListener } from '../../src/core/traffic/make-listener.ts';
import type { VirtualClock } from '../sim/virtual-clock.ts';
import { answer, type AgentRig, makeAgentRig, table } from './agent-rig.ts';
import { type FakeHostPorts, makeHostPorts, type StepName } from './host-ports.ts';

export type Site = 'small' | 'large';
export type Fault = 'fails' | 'flaps' | 'hangs' | 'slow';

/** An agent over a host whose parts fail, hang, and recover, while its table changes. */
export type FaultyHost = {
  readonly rig: AgentRig<VirtualClock>;
  publish(listeners: readonly Listener[]): void;
  setServing(isServing: boolean): void;
  /** Until `clear`. */
  fault(step: StepName, kind: Fault): void;
  clear(step: StepName): void;
  /** HAProxy or nft refuses the listeners on this port, and no others. */
  refuse(tool: 'proxy' | 'steering', port: number | undefined): void;
  /** The process ends, and another one starts with its files. What it had asked of the host ends first. */
  restart(): Promise<void>;
  /** HAProxy exits, or another program removes what the agent has made. The next audit repairs it, at the latest. */
  breakPart(part: (typeof breakable)[number]): void;
  /** Ends all faults, lets the host serve, and waits until all is repaired. */
  recover(): Promise<void>;
  /** What must be true at any time, and is not. */
  violations(): readonly string[];
  /** What must be true after `recover`, and is not. */
  differences(): readonly string[];
  stop(): Promise<void>;
};

export const faultySteps: readonly StepName[] = [
  ...(['proxy.upsert', 'proxy.prune', 'proxy.audit', 'steering.apply', 'steering.audit'] as const),
  ...(['direct.prepare', 'direct.apply', 'direct.audit', 'nat.prepare', 'nat.apply', 'nat.audit'] as const),
  ...(['placement.add', 'placement.remove', 'placement.audit', 'host.endConnections'] as const),
  ...(['proxy.check', 'steering.check', 'placement.check'] as const),
];

export const breakable = ['HAProxy', 'steering', 'addresses'] as const;

const slowMs = 3_000;
/**
 * The processor time of an audit, and until one has ended at the latest. On a large site checks follow it for ten minutes; the kernel
 * reports changes of addresses before.
 */
const sites = { small: { auditMs: 10, repairMs: 70_000 }, large: { auditMs: 120, repairMs: 700_000 } } as const;

/** How long a host that is withdrawn may keep its addresses. */
const withdrawalMs = 20_000;

export function startFaultyHost(clock: VirtualClock, site: Site = 'small'): FaultyHost {
  const { auditMs, repairMs } = sites[site];
  const ports = serialised(makeHostPorts(clock));
  const files = new Map<string, string>();
  let stop = new AbortController();
  let rig = makeAgentRig({ clock, files, ports });
  let running = rig.agent.run(stop.signal);
  let wanted: readonly Listener[] = [];
  /** Listeners that packets were seen to reach, until no tool has them, or their connections were ended. */
  const connectable = new Set<ListenerKey>();
  /** Listeners that were ready, and have belonged to the same Service since, on parts that lose nothing by themselves. */
  const carried = new Set<ListenerKey>();
  let seenSteps = 0;
  let isServing = true;
  /** Since when the host has been withdrawn while its addresses could be removed. */
  let withdrawnAt = 0;
  /** Something was removed that no audit has restored yet. */
  let brokenAt = -Infinity;
  const faultOf = (isMeant: (step: StepName) => boolean): boolean =>
    [...ports.failing.keys(), ...hanging.keys(), ...slow].some(isMeant);
  const isBroken = (): boolean => {
    const isRecent = clock.monotonic() - brokenAt < repairMs;
    // Addresses that were removed are restored only after that.
    if (isRecent && isPlacementFaulty()) brokenAt = clock.monotonic();
    return isRecent || faultOf((step) => step.endsWith('audit'));
  };
  /** A listener that HAProxy refuses after its death is served by nothing: clients are refused, and the report says why. */
  let hasDied = false;
  const leadsNowhere = (steered: Listener): boolean =>
    steered.dataplane === 'haproxy' &&
    !ports.held.proxy.has(steered.key) &&
    !(hasDied && ports.refuses.proxy(steered) !== undefined && answer(rig, steered) !== 'ready');
  const ends = new Map<StepName, () => void>();
  const slow = new Set<StepName>();
  const { hanging } = ports;
  const hangOf = hanging.get.bind(hanging);
  hanging.get = (step) => {
    if (step.endsWith('.audit')) clock.work(auditMs);
    return slow.has(step) ? clock.sleep(slowMs, new AbortController().signal) : hangOf(step);
  };

  const clear = (step: StepName): void => {
    ports.failing.delete(step);
    ports.hanging.delete(step);
    slow.delete(step);
    ends.get(step)?.();
    ends.delete(step);
    if (step.startsWith('placement')) withdrawnAt = clock.monotonic();
  };
  const isPlacementFaulty = (): boolean => faultOf((step) => step.startsWith('placement'));

  return {
    get rig() {
      return rig;
    },
    publish: (listeners) => {
      for (const { key, service } of wanted) {
        const next = listeners.find((each) => each.key === key);
        if (next?.service !== service || !isServedAlways(next)) carried.delete(key);
      }
      wanted = listeners;
      rig.agent.publish(table(...wanted));
    },
    setServing: (next) => {
      isServing = next;
      if (!next) carried.clear();
      withdrawnAt = clock.monotonic();
      rig.agent.setServing(next);
    },
    fault: (step, kind) => {
      clear(step);
      let calls = 0;
      if (kind === 'fails') ports.failing.set(step, 'no');
      else if (kind === 'flaps') ports.failing.set(step, () => (++calls % 3 === 0 ? undefined : 'now and then'));
      else if (kind === 'hangs') {
        const { promise, resolve } = Promise.withResolvers<void>();
        ports.hanging.set(step, promise);
        ends.set(step, resolve);
      } else slow.add(step);
    },
    clear,
    refuse: (tool, port) => {
      carried.clear();
      ports.refuses[tool] = (each) => (each.port === port ? 'refused' : undefined);
    },
    restart: async () => {
      for (const step of faultySteps) clear(step);
      carried.clear();
      stop.abort();
      await clock.drive(running.catch(() => undefined));
      await clock.advance(10_000);
      rig = makeAgentRig({ clock, files, ports, isServing });
      stop = new AbortController();
      await clock.drive(rig.agent.restore(() => undefined));
      running = rig.agent.run(stop.signal);
      rig.agent.setServing(isServing);
      rig.agent.publish(table(...wanted));
      withdrawnAt = clock.monotonic();
    },
    breakPart: (part) => {
      brokenAt = clock.monotonic();
      carried.clear();
      if (part === 'HAProxy') {
        hasDied = true;
        ports.dieProxy();
      } else if (part === 'steering') ports.changeSteering((held) => ({ ...held, listeners: emptyTable.listeners }));
      else {
        ports.held.placed.clear();
        ports.tellNetwork('addresses'); // as the kernel does
      }
    },
    recover: async () => {
      for (const step of faultySteps) clear(step);
      ports.refuses.proxy = () => undefined;
      ports.refuses.steering = () => undefined;
      isServing = true;
      rig.agent.setServing(true);
      await clock.advance(110_000 + repairMs);
    },
    violations: () => {
      const { held } = ports;
      for (const key of [...held.steering.listeners.keys(), ...held.nat.keys()]) connectable.add(key);
      const ended = new Set(ports.steps.slice(seenSteps).flatMap(portsEnded));
      seenSteps = ports.steps.length;
      for (const key of connectable) {
        const isThere = [held.steering.listeners, held.nat, held.proxy].some((map) => map.has(key));
        const isSteered = held.steering.listeners.has(key) || held.nat.has(key);
        if (!isThere || (!isSteered && ended.has(key.split('|')[1] ?? ''))) connectable.delete(key);
      }
      if (isServing && !isBroken())
        for (const each of wanted) if (isServedAlways(each) && answer(rig, each) === 'ready') carried.add(each.key);
      const isCarried = (key: ListenerKey): boolean =>
        held.direct.has(key) || held.nat.has(key) || (held.steering.listeners.has(key) && held.proxy.has(key));
      const isLate = !isServing && !isPlacementFaulty() && clock.monotonic() - withdrawnAt > withdrawalMs;
      return [
        ...(!isServing && held.advertised.size > 0 ? ['a withdrawn host announces addresses'] : []),
        ...[...held.advertised.keys()]
          .filter((text) => !isBroken() && !held.placed.has(text))
          .map((text) => `${text} is announced and not there`),
        ...(isLate && held.placed.size > 0 ? ['a withdrawn host has addresses'] : []),
        ...crossings(ports),
        ...[...carried].filter((key) => !isCarried(key)).map((key) => `${key} was served and is not`),
        ...(isBroken()
          ? []
          : [...held.steering.listeners.values()]
              .filter(leadsNowhere)
              .map(({ key }) => `${key} is steered to nothing`)),
        ...[...connectable]
          .filter((key) => !wanted.some((each) => each.key === key) && !rig.agent.report().listeners.has(key))
          .map((key) => `${key} counts as removed, and may have connections`),
        ...(isServing && !isBroken()
          ? wanted.filter((each) => answer(rig, each) === 'ready').flatMap((each) => notServed(ports, each))
          : []),
      ];
    },
    differences: () => {
      const { held } = ports;
      const keys = new Set<ListenerKey>(wanted.map(({ key }) => key));
      const left = [held.proxy, held.steering.listeners, held.nat, rig.agent.report().listeners].flatMap((map) =>
        [...map.keys()].filter((key) => !keys.has(key)).map((key) => `${key} is left`),
      );
      const addresses = [...new Set(wanted.map(({ address }) => address.text))].sort().join();
      return [
        ...wanted.filter((each) => answer(rig, each) !== 'ready').map((each) => `${each.key}: ${answer(rig, each)}`),
        ...wanted.flatMap((each) => notServed(ports, each)),
        ...left,
        ...([...held.placed.keys()].sort().join() === addresses ? [] : ['other addresses are on the host']),
        ...([...held.advertised.keys()].sort().join() === addresses ? [] : ['other addresses are announced']),
        ...rig.agent.troubles(),
      ];
    },
    stop: async () => {
      for (const step of faultySteps) clear(step);
      stop.abort();
      await clock.drive(running.catch(() => undefined));
    },
  };
}

/** Each part does one thing at a time, like the real ones. */
function serialised(ports: FakeHostPorts): FakeHostPorts {
  for (const part of [ports.proxy, ports.steering, ports.direct, ports.nat, ports.placement]) {
    const inTurn = makeSerial();
    const calls = part as unknown as Record<string, ((...args: readonly unknown[]) => Promise<unknown>) | undefined>;
    for (const name of ['upsert', 'prune', 'prepare', 'apply', 'add', 'remove', 'audit', 'check']) {
      const call = calls[name]?.bind(part);
      if (call !== undefined) calls[name] = (...args) => inTurn(() => call(...args));
    }
  }
  return ports;
}

/** nftables steers to HAProxy what that serves for another Service. */
function crossings({ held }: FakeHostPorts): readonly string[] {
  const between = [...held.direct.values()].flatMap(({ key, service }) => {
    const others = [held.nat.get(key), held.steering.listeners.get(key)].filter((each) => each !== undefined);
    const other = others.find((each) => each.service !== service);
    return other === undefined ? [] : [`${key} of ${service} also leads to ${other.service}`];
  });
  const steerings = [...held.steering.listeners.values()].filter(usesHaproxy).flatMap((steered) => {
    const proxied = held.proxy.get(steered.key);
    if (proxied === undefined || proxied.service === steered.service) return [];
    return [`${steered.key} of ${steered.service} leads to ${proxied.service}`];
  });
  return [...between, ...steerings];
}

/** `direct` without a stand-in serves only while a node is shown to answer. */
function isServedAlways({ dataplane, standIn }: Listener): boolean {
  return dataplane !== 'direct' || standIn !== undefined;
}

/** The ports of `end 80 81`. */
function portsEnded(step: string): readonly string[] {
  const [word, ...ports] = step.split(' ');
  return word === 'end' ? ports : [];
}

function notServed({ held }: FakeHostPorts, wanted: Listener): readonly string[] {
  const { key, revision, dataplane, service, targetPort, address, isHostAddress } = wanted;
  if (!isHostAddress && !held.placed.has(address.text)) return [`${key}: its address is missing`];
  const steered = held.steering.listeners.get(key);
  const proxied = held.proxy.get(key);
  if (dataplane === 'nat') return held.nat.get(key)?.revision === revision ? [] : [`${key}: nat has another one`];
  if (dataplane === 'direct') {
    const direct = held.direct.get(key);
    // It is in force without its stand-in while HAProxy cannot be changed.
    const isSame = direct !== undefined && makeListener({ ...direct, standIn: wanted.standIn }).revision === revision;
    return isSame ? [] : [`${key}: direct has another one`];
  }
  return [
    ...(steered?.revision === revision ? [] : [`${key}: nftables has another one`]),
    ...(proxied?.service === service && proxied.targetPort === targetPort ? [] : [`${key}: HAProxy has another one`]),
  ];
}

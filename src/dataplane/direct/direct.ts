import { isDeepStrictEqual } from 'node:util';
import { makeAlarm } from '../../async/alarm.ts';
import { makeLatch } from '../../async/latch.ts';
import { runWhenSet } from '../../async/run-when-set.ts';
import { makeSerial } from '../../async/serial.ts';
import { makeSubscribers } from '../../async/subscribers.ts';
import { superviseAll } from '../../async/supervise-all.ts';
import { makeTrouble } from '../../async/trouble.ts';
import type { Family, Ip } from '../../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { emptyTable, type Listener, type TrafficTable, usesHaproxy } from '../../core/traffic/table.ts';
import type { DirectObstacles } from '../../core/traffic/report.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Host, Refusals } from '../../ports/host.ts';
import type { Direct } from '../../ports/direct.ts';
import type { Gate } from '../../ports/gate.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Health } from '../../ports/health.ts';
import type { Link } from '../../ports/network.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { classText } from '../nftables/element.ts';
import { readElementCounters } from '../nftables/element-counters.ts';
import { makeTableReconciler } from '../nftables/table-reconciler.ts';
import { watchTable } from '../nftables/watch-table.ts';
import type { AnsweringNodes } from './answering-nodes.ts';
import { makePinWatch } from './pin-watch.ts';
import { probedPaths } from './probed-paths.ts';
import { makePublications } from './publications.ts';
import { directLayout } from './layout.ts';
import { findObstacles } from './obstacles.ts';
import { readMacs } from './node-macs.ts';
import { type DirectProgram, hopKey, makeDirectPlanner } from './program.ts';
import { directRules, directTable } from './ruleset.ts';
import { makeStandIns } from './stand-ins.ts';

export type DirectDeps = {
  readonly exec: Exec;
  readonly health: Health;
  readonly host: Pick<Host, 'clientsOf'>;
  /** The addresses of this host itself, by text. */
  readonly own: () => ReadonlyMap<string, Ip>;
  /** Since when a node is silent, monotonic ms; `undefined`: it is not. */
  readonly silentSince: (node: NodeName, family: Family) => number | undefined;
  /** A node that is silent for so long loses the flows that it has; it gets no new ones before. */
  readonly silenceMs: number;
  readonly gate: Gate;
  /** The link on which an address is; `undefined`: behind a router. */
  readonly linkOf: (address: Ip) => Link | undefined;
  /** The nodes that were shown to answer clients themselves. */
  readonly answering: AnsweringNodes;
  /** Own addresses on the interfaces of the default routes: packets of clients arrive there. */
  readonly primary: () => readonly Ip[];
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Ends the helper programs; the table stays, so that traffic continues. */
  readonly lifetime: AbortSignal;
};

type DeviceProgram = DirectProgram & { readonly devices: readonly string[] };

/**
 * Table `netdev furiwake`:
 *
 *   table, verdicts, gate, links ─► program ─► difference ─► one transaction
 *
 * Without a listener there is no table. A change of a verdict or of the gate changes slots and groups, and no rule.
 */
export function makeDirect(deps: DirectDeps): Direct {
  const { exec, health, gate, answering, silenceMs, clock, log, metrics, lifetime } = deps;
  const linkOf = (address: Ip): string | undefined => deps.linkOf(address)?.name;
  const isOwn = ({ text }: Ip): boolean => deps.own().has(text);
  const plan = makeDirectPlanner();
  const kernel = makeTableReconciler<DeviceProgram>({
    ...deps,
    table: directTable,
    layout: {
      ...directLayout,
      empty: { ...directLayout.empty, devices: [] },
      withRestOf: (target, other) => ({ ...target, ...directLayout.withRestOf(target, other) }),
    },
    rulesOf: ({ devices }) => directRules(devices),
  });
  const repairs = metrics.counter('furiwake_direct_repairs_total', 'Times that the table of direct was restored');
  /** `undefined` before the first `apply`: until then the table of an earlier process stays as it is. */
  let published: TrafficTable | undefined;
  /** The same with the listeners of this dataplane only, and those that leave it. */
  let table: TrafficTable = emptyTable;
  /** The refusals of the last `apply`; `undefined`: it failed, or there was none. */
  let accepted: Refusals<ListenerKey> | undefined;
  /** An earlier process may have left a table. */
  let isFirst = true;
  const publicationsOf = makePublications(() => clock.monotonic());
  const watchPins = makePinWatch({ ...deps, isInPlace: () => kernel.isInPlace() });
  const standIns = makeStandIns();
  const sortingTrouble = makeTrouble({
    what: 'reading which connections HAProxy holds',
    log,
    monotonic: () => clock.monotonic(),
  });
  const inTurn = makeSerial();
  const changed = makeLatch();
  /** Set when there is a table to watch. */
  const inUse = makeLatch();
  const alarm = makeAlarm({ clock, signal: lifetime, ring: () => changed.set() });

  /** The groups of the last program that is in force. */
  let forwarding: DirectProgram['groups'] = new Map();
  let obstacles: DirectObstacles = new Map();
  /** The numbers of the listeners in the kernel. */
  let ids: DirectProgram['ids'] = new Map();
  let onLink: ReadonlySet<Family> = new Set();
  const subscribers = makeSubscribers();
  const setForwarding = (groups: DirectProgram['groups'], found: DirectObstacles): void => {
    const isSame = groups.size === forwarding.size && [...groups.keys()].every((key) => forwarding.has(key));
    const before = obstacles;
    const linked = new Set<Family>();
    for (const address of [...table.nodes.values()].flatMap((node) => node.addresses))
      if (linkOf(address) !== undefined && !isOwn(address)) linked.add(address.family);
    const wasLinked = onLink;
    if (!isDeepStrictEqual(linked, onLink)) onLink = linked;
    forwarding = groups;
    if (!isDeepStrictEqual(before, found)) obstacles = found;
    if (!isSame || obstacles !== before || onLink !== wasLinked) subscribers.tell();
  };

  /** Counts the plans. */
  let turn = 0;
  const isLost = (node: NodeName, family: Family): boolean => {
    const since = deps.silentSince(node, family);
    if (since === undefined) return false;
    const isOver = clock.monotonic() - since >= silenceMs;
    if (!isOver) alarm.setAt(since + silenceMs);
    return isOver;
  };

  const programOf = async (signal: AbortSignal): Promise<DeviceProgram> => {
    const addresses = [...table.nodes.values()].flatMap((node) => node.addresses);
    const macs = await readMacs(exec, addresses, signal);
    const hasGateOpen = ({ key }: Listener, node: NodeName): boolean => gate.isOpen(key, node);
    answering.setPaths(
      probedPaths({
        table,
        linkOf: deps.linkOf,
        own: deps.own().values(),
        macs,
        isOpen: hasGateOpen,
        isMissing: (hop) => !answering.has(hop),
        turn: turn++,
      }),
    );
    const vips = Array.from(table.listeners.values(), ({ address }) => address);
    const links = [...addresses, ...vips, ...deps.primary()].flatMap((address) => linkOf(address) ?? []);
    return {
      ...plan({
        table,
        verdicts: health.verdicts(),
        linkOf,
        isOwn,
        isLost,
        nodeMacs: new Set(macs.values()),
        isOpen: (listener, node) =>
          hasGateOpen(listener, node) && (!listener.needsProof || answering.has(hopKey(node, listener.address.family))),
      }),
      devices: [...new Set(links)].sort(),
    };
  };

  /** The gate gets the listeners and nodes before it is asked. */
  const setGate = (): void => {
    gate.setListeners(publicationsOf(table.listeners));
    if (table.nodes.size > 0)
      answering.keep(
        new Set(
          [...table.nodes.values()].flatMap(({ name, addresses }) =>
            addresses.map(({ family }) => hopKey(name, family)),
          ),
        ),
      );
    const verdicts = health.verdicts();
    gate.setNodes(
      new Map(
        Array.from(table.nodes.values(), ({ name, addresses }) => [
          name,
          addresses.map((address) => ({ address, isUp: verdicts.get(name)?.[address.family] !== 'silent' })),
        ]),
      ),
    );
  };

  /** Reads whose the connections of these listeners are. Until that succeeds, packets without a pin are HAProxy's. */
  const sort = async (keys: readonly ListenerKey[], signal: AbortSignal): Promise<void> => {
    if (keys.length === 0) return;
    try {
      const listeners = keys.flatMap((key) => table.listeners.get(key) ?? []);
      standIns.sort(keys, await deps.host.clientsOf(listeners, signal));
      sortingTrouble.over();
    } catch (error) {
      signal.throwIfAborted();
      sortingTrouble.failed(error); // the next audit tries again
    }
  };

  /**
   * Listeners that a node opens now may have connections at HAProxy. New connections go to nodes from the first transaction on;
   * those that HAProxy has then are complete, and the second one names them.
   *
   * The table of an earlier process sends connections to nodes, whose pins are lost with it: there the order is the other one.
   */
  const applySorted = async (next: DeviceProgram, signal: AbortSignal): ReturnType<Direct['apply']> => {
    const hasEarlier = isFirst && (await kernel.exists(signal));
    isFirst = false;
    standIns.follow(next.listeners, next.groups);
    const entering = standIns.entering();
    if (hasEarlier) await sort(entering, signal);
    const shared = standIns.shared();
    const refusals = await kernel.apply({ ...next, shared }, signal);
    await sort(entering, signal);
    return standIns.shared() === shared ? refusals : await kernel.apply({ ...next, shared: standIns.shared() }, signal);
  };

  /** Not every kernel has tables of this family: there is nothing to remove then. */
  const remove = async (signal: AbortSignal): Promise<void> => {
    if (await kernel.exists(signal)) await kernel.remove(signal);
    isFirst = false;
  };

  const program = async (signal: AbortSignal): ReturnType<Direct['apply']> => {
    if (published === undefined) return new Map();
    setGate();
    if (table.listeners.size > 0) {
      const next = await programOf(signal);
      const refusals = await applySorted(next, signal);
      ({ ids } = next);
      const silent = answering.silent();
      const isUnheard = (node: NodeName, family: Family): boolean => silent.has(hopKey(node, family));
      const isAnswering = (node: NodeName): boolean => gate.isAnswering(node);
      setForwarding(next.groups, findObstacles(table.nodes, { isOwn, linkOf, isAnswering, isUnheard }));
      inUse.set();
      return refusals;
    }
    if (isFirst || kernel.isInPlace()) await remove(signal);
    ids = new Map();
    setForwarding(new Map(), new Map());
    return new Map();
  };

  /** A listener that leaves for HAProxy keeps its connections at nodes. */
  const isMine = (listener: Listener): boolean =>
    listener.dataplane === 'direct' ||
    (usesHaproxy(listener) &&
      standIns.has(listener.key) &&
      table.listeners.get(listener.key)?.service === listener.service);

  const repair = async (signal: AbortSignal): Promise<string | undefined> => {
    const found = await kernel.repair(signal);
    if (found !== undefined) repairs.add(1);
    return found;
  };

  const watch = async (signal: AbortSignal): Promise<void> => {
    while (!kernel.isInPlace()) await inUse.wait(signal); // without a listener of direct, nothing is watched
    await watchTable(
      {
        ...deps,
        what: 'the nftables table of direct',
        table: directTable,
        generation: () => kernel.generation(),
        repair: () => inTurn(() => repair(signal)),
      },
      signal,
    );
  };

  return {
    apply: (next, signal) =>
      inTurn(async () => {
        const before = published?.listeners ?? emptyTable.listeners;
        const changes = PersistentMap.changedKeys(before, next.listeners).map((key) => {
          const listener = next.listeners.get(key);
          return [key, listener !== undefined && isMine(listener) ? listener : undefined] as const;
        });
        published = next;
        const old = table;
        table = { ...next, listeners: table.listeners.with(changes) };
        const isSame = old.listeners === table.listeners && old.nodes === next.nodes;
        if (accepted === undefined || !isSame || old.backends !== next.backends) {
          accepted = undefined;
          accepted = await program(signal);
        }
        return accepted;
      }),
    isForwarding: (key) => forwarding.has(key),
    onLink: () => onLink,
    obstacles: () => obstacles,
    onForwarding: subscribers.subscribe,
    counters: async (signal, keys) => {
      const wanted = Array.from(keys ?? ids.keys()).flatMap((key) => {
        const id = ids.get(key);
        return id === undefined ? [] : [[key, classText(id)] as const];
      });
      if (wanted.length === 0) return new Map();
      const sets = ['open', 'flows', 'refused'] as const;
      const { open, flows, refused } = await readElementCounters(exec, directTable, sets, signal);
      return new Map(
        wanted.map(([key, id]) => {
          const { packets, bytes } = open.get(id) ?? { packets: 0, bytes: 0 };
          return [
            key,
            { flows: flows.get(id)?.packets ?? 0, packets, bytes, refused: refused.get(id)?.packets ?? 0 },
          ] as const;
        }),
      );
    },
    audit: (signal) =>
      inTurn(async () => {
        await sort(standIns.holding(), signal);
        await program(signal); // links and MAC addresses may have changed
        return (await repair(signal)) === undefined ? 0 : 1;
      }),
    run: async (signal) => {
      const end = [
        health.subscribe(() => changed.set()),
        gate.subscribe(() => changed.set()),
        answering.subscribe(() => changed.set()),
      ];
      try {
        await superviseAll(
          [
            (inner) =>
              runWhenSet({
                what: 'sending packets to the nodes that are up',
                due: changed,
                work: () => inTurn(async () => void (await program(inner))),
                retry: { firstMs: 200, mostMs: 30_000 },
                level: 'error',
                clock,
                log,
                signal: inner,
              }),
            watch,
            watchPins,
            (inner) => gate.run(inner),
            (inner) => answering.run(inner),
          ],
          signal,
        );
      } finally {
        for (const unsubscribe of end) unsubscribe();
      }
    },
    remove: (signal) =>
      inTurn(async () => {
        published = undefined;
        table = emptyTable;
        ids = new Map();
        await remove(signal);
      }),
  };
}

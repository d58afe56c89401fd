import { waitLimits } from '../../async/backoff.ts';
import { makeAlarm } from '../../async/alarm.ts';
import { makeLatch } from '../../async/latch.ts';
import { runWhenSet } from '../../async/run-when-set.ts';
import { makeSerial } from '../../async/serial.ts';
import { superviseAll } from '../../async/supervise-all.ts';
import type { Family } from '../../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { makeServerlessIndex } from '../../core/traffic/serverless.ts';
import { emptyTable, type Listener, stackDataplane, type TrafficTable } from '../../core/traffic/table.ts';
import type { Direct } from '../../ports/direct.ts';
import type { Host, Refusals } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { makeLostNodes } from '../nftables/lost-nodes.ts';
import { makeTableReconciler } from '../nftables/table-reconciler.ts';
import { watchTable } from '../nftables/watch-table.ts';
import { readDirectCounters } from './table/direct-counters.ts';
import { readEarlierTable, resumedSets } from './earlier-table.ts';
import { makeFlowSorting } from './table/flow-sorting.ts';
import { makeForwardingReport } from './forwarding-report.ts';
import { withoutTable } from './probes/obstacles.ts';
import { makeExcludedNodes, type ExcludedNodesDeps } from './table/excluded-nodes.ts';
import { makePassingStates } from './passing-states.ts';
import { movedMeanwhile } from './table/inherited.ts';
import { makePinWatch } from './table/pin-watch.ts';
import {
  deviceLayout,
  type DeviceProgram,
  makeProgramSource,
  type ProgramNews,
  type ProgramSourceDeps,
} from './table/program-source.ts';
import { guardChains } from './table/guard.ts';
import { directRules, directTable } from './table/ruleset.ts';
import { withoutGroups } from './table/program.ts';
import { makeStandIns } from './stand-ins.ts';
import { makeTableTrial } from './table/try-table.ts';

const nothing = { groups: PersistentMap.empty<ListenerKey, never>(), refusals: new Map() } as const;

export type DirectDeps = ProgramSourceDeps &
  ExcludedNodesDeps & {
    readonly host: Pick<Host, 'clientsOf'>;
    /** Since when a node is silent, monotonic ms; `undefined`: it is not. */
    readonly silentSince: (node: NodeName, family: Family) => number | undefined;
    /** A TCP connection without a packet for so long may move to another node. */
    readonly idleSeconds: number;
    readonly log: Log;
    readonly metrics: Metrics;
    /** Ends the helper programs; the table stays, so that traffic continues. */
    readonly lifetime: AbortSignal;
  };

/**
 * Table `netdev furiwake`:
 *
 *   table, verdicts, gate, links ─► program ─► difference ─► one transaction
 *
 * Without a listener there is no table. A change of a verdict or of the gate changes slots and groups, and no rule.
 */
export function makeDirect(deps: DirectDeps): Direct {
  const { exec, health, gate, answering, clock, log, metrics, lifetime } = deps;
  const source = makeProgramSource(deps);
  const reported = makeForwardingReport();
  const kernel = makeTableReconciler<DeviceProgram>({
    ...deps,
    table: directTable,
    layout: deviceLayout,
    rulesOf: ({ devices }) => directRules(devices, deps.idleSeconds),
    guardOf: guardChains,
    repairs: metrics.counter('furiwake_direct_repairs_total', 'Times that the table of direct was restored'),
  });
  /** `undefined` before the first `apply`: until then the table of an earlier process stays as it is. */
  let published: TrafficTable | undefined;
  /** The same with the listeners of this dataplane only, and those that leave it. */
  let table: TrafficTable = emptyTable;
  /** The refusals of the last `apply`; `undefined`: it failed, or there was none. */
  let accepted: Refusals<ListenerKey> | undefined;
  /** An earlier process may have left a table. */
  let isFirst = true;
  const watchPins = makePinWatch({ ...deps, isInPlace: () => kernel.isInPlace() });
  const standIns = makeStandIns();
  const serverlessOf = makeServerlessIndex();
  const ifAble = makeTableTrial({ ...deps, exists: (signal) => kernel.exists(signal) });
  const inTurn = makeSerial();
  const changed = makeLatch();
  /** More may have changed than what the gate has opened. */
  let isRefreshDue = false;
  const refresh = (): void => {
    isRefreshDue = true;
    changed.set();
  };
  /** Set when there is a table to watch. */
  const inUse = makeLatch();
  const alarm = makeAlarm({ clock, signal: lifetime, ring: () => changed.set() });
  const passing = makePassingStates({ standIns, clock, alarm });
  const sorting = makeFlowSorting({ ...deps, standIns, passing });

  /** The numbers of the listeners in the kernel. */
  let ids: DeviceProgram['ids'] = PersistentMap.empty();
  let links: string | undefined;
  /** They differ from those of the last repair: the kernel removes the chain of a device with the device. */
  let haveFactsChanged = false;
  const excluded = makeExcludedNodes(deps, makeLostNodes({ ...deps, alarm }));

  /**
   * Listeners that a node opens now may have flows at their stand-in. New connections go to nodes from the first transaction on;
   * those that HAProxy has then are complete, and the second one names them. Of UDP and SCTP the flows that opened in between
   * are not named: they are younger than those that count as living (`readFlowClients`).
   *
   * The table of an earlier process sends flows to nodes: there the order is the other one.
   */
  const applySorted = async (planned: DeviceProgram, signal: AbortSignal): ReturnType<Direct['apply']> => {
    const hasEarlier = isFirst && (await kernel.exists(signal));
    isFirst = false;
    // Without an endpoint the host refuses new flows, and all at once: nodes refuse with ICMP, which has a rate limit.
    const next = withoutGroups(planned, serverlessOf(table));
    standIns.follow(next.listeners, next.groups, serverlessOf(table));
    const entering = standIns.entering();
    if (hasEarlier) await sorting.sort(table, entering, signal);
    const shared = standIns.shared();
    const refusals = await kernel.apply({ ...next, shared }, signal);
    await sorting.sort(table, entering, signal);
    return standIns.shared() === shared ? refusals : await kernel.apply({ ...next, shared: standIns.shared() }, signal);
  };

  /** Not every kernel has tables of this family: there is nothing to remove then. */
  const remove = async (signal: AbortSignal): Promise<boolean> => {
    const wasThere = await kernel.exists(signal);
    if (wasThere) await kernel.remove(signal);
    isFirst = false;
    return wasThere;
  };

  /** Without a table: only listeners without a stand-in are refused. */
  const leaveToStandIns = (lacking: string): Refusals<ListenerKey> => {
    ids = PersistentMap.empty();
    reported.set(nothing, withoutTable(table.nodes), source.onLink(table.nodes));
    const alone = [...table.listeners.values()].filter((each) => stackDataplane(each) === undefined);
    return new Map(alone.map(({ key }) => [key, lacking]));
  };

  const program = async (signal: AbortSignal, news: ProgramNews): ReturnType<Direct['apply']> => {
    if (published === undefined) return new Map();
    source.follow(table);
    if (table.listeners.size > 0) {
      const next = await source.next(table, { isLost: excluded.isLost, news }, signal);
      const now = passing.into(next, table, { serverless: serverlessOf(table), mayOpen: source.mayOpen(table.nodes) });
      const { refusals, lacking } = await ifAble(() => applySorted(now, signal), signal);
      if (lacking !== undefined) return leaveToStandIns(lacking);
      ({ ids } = next);
      reported.set({ groups: now.groups, refusals }, source.obstacles(table.nodes), source.onLink(table.nodes));
      inUse.set();
      return refusals;
    }
    if (isFirst || kernel.isInPlace()) await remove(signal);
    ids = PersistentMap.empty();
    reported.set(nothing, new Map(), source.onLink(table.nodes));
    return new Map();
  };

  /** A listener that leaves for another dataplane keeps its flows at nodes, where affinity may have chosen them. */
  const mine = (listener: Listener | undefined): Listener | undefined => {
    if (listener === undefined || listener.dataplane === 'direct') return listener;
    if (!standIns.has(listener)) return undefined;
    const { isAffine, affinitySeconds } = listener.isAffine
      ? listener
      : (table.listeners.get(listener.key) ?? listener);
    return { ...listener, isAffine, affinitySeconds };
  };

  /** Continues with the table of an earlier process; resolves with whether there is one. */
  const resume = async (first: TrafficTable, signal: AbortSignal): Promise<boolean> => {
    const elements = await kernel.elements(signal, resumedSets);
    isFirst = elements !== undefined;
    if (elements === undefined) return false;
    const { listeners, open } = readEarlierTable(elements, first);
    standIns.resume(listeners);
    gate.resume(open);
    return true;
  };

  const look = (how: 'audit' | 'check', signal: AbortSignal): Promise<number> =>
    inTurn(async () => {
      await sorting.sort(table, standIns.holding(), signal);
      if (table.listeners.size > 0) await excluded.look(signal);
      const isNews = how === 'audit' || (await source.haveMacsChanged(table.nodes, signal));
      await program(signal, isNews ? 'all' : 'table');
      return (await kernel[how](signal)) === undefined ? 0 : 1;
    });

  const follow = async (signal: AbortSignal): Promise<void> => {
    const news = isRefreshDue ? 'all' : 'openings';
    isRefreshDue = false;
    await program(signal, news).catch((error: unknown) => {
      isRefreshDue ||= news === 'all';
      throw error;
    });
    if (!haveFactsChanged) return;
    await kernel.repair(signal);
    haveFactsChanged = false;
  };

  const watch = async (signal: AbortSignal): Promise<void> => {
    while (!kernel.isInPlace()) await inUse.wait(signal); // without a listener of direct, nothing is watched
    await watchTable(
      {
        ...deps,
        what: 'the nftables table of direct',
        table: directTable,
        kernel,
        inTurn,
      },
      signal,
    );
  };

  const apply = async (next: TrafficTable, signal: AbortSignal): ReturnType<Direct['apply']> => {
    const isNewHost = published === undefined && isFirst && !(await resume(next, signal));
    const before = published?.listeners ?? emptyTable.listeners;
    const keys = PersistentMap.changedKeys(before, next.listeners);
    const listeners = table.listeners.with(keys.map((key) => [key, mine(next.listeners.get(key))]));
    if (published !== undefined) passing.follow(before, next.listeners);
    passing.inherit(await sorting.idle(isNewHost ? next.listeners : movedMeanwhile(before, next.listeners), signal));
    published = next;
    const old = table;
    table = { ...next, listeners, nodes: excluded.join(next) };
    const isSame = (['listeners', 'nodes', 'withoutEndpoints'] as const).every((part) => old[part] === table[part]);
    // A listener that nft refused may be accepted now.
    if (accepted?.size !== 0 || !isSame || old.backends !== next.backends) {
      accepted = undefined;
      accepted = await program(signal, 'table');
    }
    return accepted;
  };

  return {
    outage: kernel.outage,
    apply: (next, signal) => inTurn(() => apply(next, signal)),
    prepare: (next, signal) =>
      inTurn(async () => (isFirst && !(await kernel.exists(signal)) ? await apply(next, signal) : new Map())),
    isForwarding: reported.isForwarding,
    onLink: reported.onLink,
    obstacles: reported.obstacles,
    onForwarding: reported.onForwarding,
    counters: (signal, keys) => readDirectCounters(exec, ids, keys, signal),
    audit: (signal) => look('audit', signal),
    check: (signal) => look('check', signal),
    run: async (signal) => {
      const end = [
        health.subscribe(refresh),
        gate.subscribe((change) => (change === 'opened' ? changed.set() : refresh())),
        answering.subscribe(refresh),
      ];
      try {
        await superviseAll(
          [
            (inner) =>
              runWhenSet({
                what: 'sending packets to the nodes that are up',
                due: changed,
                work: () => inTurn(() => follow(inner)),
                retry: waitLimits.usual,
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
    noteFacts: () => {
      const now = source.factsText(table.nodes);
      if (now === links) return;
      links = now;
      haveFactsChanged = true;
      refresh();
    },
    remove: (signal) =>
      inTurn(async () => {
        published = undefined;
        table = emptyTable;
        ids = PersistentMap.empty();
        const wasThere = await remove(signal);
        reported.set(nothing, new Map(), source.onLink(table.nodes));
        return wasThere;
      }),
  };
}

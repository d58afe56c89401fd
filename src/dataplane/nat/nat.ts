import { makeAlarm } from '../../async/alarm.ts';
import { makeLatch } from '../../async/latch.ts';
import { runWhenSet } from '../../async/run-when-set.ts';
import { makeSerial } from '../../async/serial.ts';
import { superviseAll } from '../../async/supervise-all.ts';
import type { Family, Ip } from '../../core/ip/ip.ts';
import type { BackendId, ListenerKey, NodeName } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { emptyTable, type TrafficTable, usesNat } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Health } from '../../ports/health.ts';
import type { Refusals } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Nat } from '../../ports/nat.ts';
import { makeIds } from '../direct/ids.ts';
import { makeTableReconciler } from '../nftables/table-reconciler.ts';
import { watchTable } from '../nftables/watch-table.ts';
import { makeFlowKeeper } from './flow-keeper.ts';
import { type Guard, makeForwarding, noGuard } from './forwarding.ts';
import { natLayout } from './layout.ts';
import { makeNatPlanner, type NatProgram } from './program.ts';
import { natRules, natTable } from './ruleset.ts';

/**
 * Table `inet furiwake-nat`, the kernel's forwarding, and the flows in conntrack:
 *
 *   table, verdicts ─► program ─► difference ─► one transaction ─► forwarding on ─► stale flows ended
 *
 * Without a listener there is no table, and the kernel's forwarding is as it was. A change of a verdict changes slots and groups,
 * and no rule.
 */
export function makeNat(deps: {
  readonly exec: Exec;
  readonly health: Health;
  /** Since when a node is silent, monotonic ms; `undefined`: it is not. */
  readonly silentSince: (node: NodeName, family: Family) => number | undefined;
  /** A node that is silent for so long loses the flows that it has; it gets no new ones before. */
  readonly silenceMs: number;
  /** The host's own addresses; the same object as long as they are the same. */
  readonly own: () => ReadonlyMap<string, Ip>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Ends the helper programs; the table stays, so that traffic continues. */
  readonly lifetime: AbortSignal;
}): Nat {
  const { exec, health, silenceMs, clock, log, metrics, lifetime } = deps;
  const plan = makeNatPlanner();
  const numbers = makeIds();
  const numberOf = (backend: BackendId): number => numbers.of(backend);
  const kernel = makeTableReconciler<NatProgram>({
    ...deps,
    table: natTable,
    layout: natLayout,
    rulesOf: () => natRules,
  });
  const forwarding = makeForwarding(exec);
  const flows = makeFlowKeeper(deps);
  const repairs = metrics.counter('furiwake_nat_repairs_total', 'Times that the table of nat was restored');
  /** `undefined` before the first `apply`: until then the table of an earlier process stays as it is. */
  let published: TrafficTable | undefined;
  /** The same with the listeners of this dataplane only, and those of `direct` for which it stands in. */
  let table: TrafficTable = emptyTable;
  /** The refusals of the last `apply`; `undefined`: it failed, or there was none. */
  let accepted: Refusals<ListenerKey> | undefined;
  /** Where forwarding is switched on, and for which families; `undefined`: an earlier process may have done it. */
  let forwarded: { readonly guard: Guard; readonly families: ReadonlySet<Family> } | undefined;
  const inTurn = makeSerial();
  const changed = makeLatch();
  /** Set when there is a table to watch. */
  const inUse = makeLatch();
  const alarm = makeAlarm({ clock, signal: lifetime, ring: () => changed.set() });

  const isLost = (node: NodeName, family: Family): boolean => {
    const since = deps.silentSince(node, family);
    if (since === undefined) return false;
    const isOver = clock.monotonic() - since >= silenceMs;
    if (!isOver) alarm.setAt(since + silenceMs);
    return isOver;
  };

  const familiesInUse = (): ReadonlySet<Family> =>
    new Set(Array.from(table.listeners.values(), ({ address }) => address.family));

  /** The guard of an earlier process is in the table that it left. */
  const presentGuard = async (signal: AbortSignal): Promise<Guard> => {
    if (forwarded !== undefined) return forwarded.guard;
    const elements = (await kernel.elements(signal)) ?? new Set();
    const links = [...elements].flatMap((key) => /^guarded4 "(.+)"$/.exec(key)?.[1] ?? []);
    return { links, hasIpv6: elements.has('guarded6 ipv6') };
  };

  const program = async (signal: AbortSignal, isAudit = false): ReturnType<Nat['apply']> => {
    if (published === undefined) return new Map();
    if (table.listeners.size === 0) {
      if (forwarded === undefined || kernel.isInPlace()) await remove(signal);
      return new Map();
    }
    const { groups, places } = plan({ table, verdicts: health.verdicts(), isLost });
    const before = await presentGuard(signal);
    const families = familiesInUse();
    const isSettled = !isAudit && forwarded !== undefined && isSameSet(families, forwarded.families);
    const next = isSettled ? before : await forwarding.plan(families, before, signal);
    const unused = { links: families.has(4) ? [] : before.links, hasIpv6: !families.has(6) && before.hasIpv6 };
    await forwarding.switchOff(unused, signal);
    const target = { listeners: table.listeners, numberOf, groups, own: deps.own(), guard: next };
    const refusals = await kernel.apply(target, signal);
    inUse.set();
    if (!isSettled) await forwarding.switchOn(next, signal);
    forwarded = { guard: next, families };
    await flows.keep(table.listeners, places, signal);
    return refusals;
  };

  const remove = async (signal: AbortSignal): Promise<void> => {
    const isThere = await kernel.exists(signal);
    if (isThere) {
      await forwarding.switchOff(await presentGuard(signal), signal);
      await kernel.remove(signal);
    }
    forwarded = { guard: noGuard, families: new Set() };
    if (isThere) await flows.keep(emptyTable.listeners, { members: new Map(), lost: [] }, signal);
  };

  const repair = async (signal: AbortSignal): Promise<string | undefined> => {
    const found = await kernel.repair(signal);
    if (found !== undefined) repairs.add(1);
    return found;
  };

  const watch = async (signal: AbortSignal): Promise<void> => {
    while (!kernel.isInPlace()) await inUse.wait(signal); // without a listener of nat, nothing is watched
    await watchTable(
      {
        ...deps,
        what: 'the nftables table of nat',
        table: natTable,
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
          return [key, listener !== undefined && usesNat(listener) ? listener : undefined] as const;
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
    audit: (signal) =>
      inTurn(async () => {
        const found = await repair(signal); // first: the rest asks conntrack and the links, which may fail
        await program(signal, true); // links and own addresses may have changed
        return found === undefined ? 0 : 1;
      }),
    run: async (signal) => {
      const end = health.subscribe(() => changed.set());
      try {
        await superviseAll(
          [
            (inner) =>
              runWhenSet({
                what: 'translating flows to the nodes that are up',
                due: changed,
                work: () =>
                  inTurn(async () => {
                    const refusals = await program(inner);
                    if (published !== undefined) accepted = refusals;
                  }),
                retry: { firstMs: 200, mostMs: 30_000 },
                level: 'error',
                clock,
                log,
                signal: inner,
              }),
            watch,
          ],
          signal,
        );
      } finally {
        end();
      }
    },
    remove: (signal) =>
      inTurn(async () => {
        published = undefined;
        table = emptyTable;
        await remove(signal);
      }),
  };
}

function isSameSet<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  return a.size === b.size && [...a].every((each) => b.has(each));
}

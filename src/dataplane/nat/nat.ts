import { messageOf } from '../../async/error-words.ts';
import { waitLimits } from '../../async/backoff.ts';
import { makeAlarm } from '../../async/alarm.ts';
import { makeLatch } from '../../async/latch.ts';
import { makePacedAttempts } from '../../async/paced-attempts.ts';
import { runWhenSet } from '../../async/run-when-set.ts';
import { makeSerial } from '../../async/serial.ts';
import { superviseAll } from '../../async/supervise-all.ts';
import type { Family, Ip } from '../../core/ip/ip.ts';
import type { BackendId, ListenerKey, NodeName } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { makeServerlessIndex } from '../../core/traffic/serverless.ts';
import { emptyTable, type Listeners, type TrafficTable } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Health } from '../../ports/health.ts';
import type { Refusals } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { Nat } from '../../ports/nat.ts';
import { makeIds } from '../nftables/ids.ts';
import { makeLostNodes } from '../nftables/lost-nodes.ts';
import { makeTableReconciler } from '../nftables/table-reconciler.ts';
import { watchTable } from '../nftables/watch-table.ts';
import { readNatCounters } from './counters.ts';
import { makeFlowSweeper } from './flow-sweeper.ts';
import { makeFlowRoomWatch } from './flow-room.ts';
import { makeFormerListeners } from './former-listeners.ts';
import { ForwardingError, type Guard, makeForwarding } from './forwarding.ts';
import { natLayout } from './layout.ts';
import { makeNatListeners } from './nat-listeners.ts';
import { makeNatPlanner, type NatProgram } from './program.ts';
import { natRules, natRulesWithHost, natTable } from './ruleset.ts';
import { makeUses } from './uses.ts';

/**
 * Table `inet furiwake-nat`, the kernel's forwarding, and the flows in conntrack:
 *
 *   table, verdicts ─► program ─► difference ─► one transaction ─► forwarding on
 *                                 remnants:     stale flows ended ─► forwarding off ─► the table gone, without a listener
 *
 * Without a listener there is no table, and the kernel's forwarding is as it was. A change of a verdict changes slots and groups,
 * and no rule. Remnants that cannot be removed (conntrack cannot be asked) delay only a listener that another Service gets: the table
 * drops the packets of flows that have no listener, and stays as long as there may be some.
 */
const waitingWords = 'the flows of the Service that had this port have not ended yet';

export function makeNat(deps: {
  readonly exec: Exec;
  readonly health: Health;
  /** Since when a node is silent, monotonic ms; `undefined`: it is not. */
  readonly silentSince: (node: NodeName, family: Family) => number | undefined;
  /** A node that is silent for so long loses the flows that it has; it gets no new ones before. */
  readonly silenceMs: number;
  /** The host's own addresses; the same object as long as they are the same. */
  readonly own: () => ReadonlyMap<string, Ip>;
  /** Another text when an interface came, went or was renamed. */
  readonly links: () => string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Ends the helper programs; the table stays, so that traffic continues. */
  readonly lifetime: AbortSignal;
}): Nat {
  const { exec, health, clock, log, metrics, lifetime } = deps;
  const plan = makeNatPlanner();
  const numbers = makeIds();
  const numberOf = (backend: BackendId): number => numbers.of(backend);
  const kernel = makeTableReconciler<NatProgram>({
    ...deps,
    table: natTable,
    layout: natLayout,
    rulesOf: ({ hasHosted }) => (hasHosted ? natRulesWithHost : natRules),
    repairs: metrics.counter('furiwake_nat_repairs_total', 'Times that the table of nat was restored'),
  });
  const forwarding = makeForwarding({
    ...deps,
    earlier: async (signal) => {
      const elements = (await kernel.elements(signal)) ?? new Set();
      const links = [...elements].flatMap((key) => /^guarded4 "(.+)"$/.exec(key)?.[1] ?? []);
      return { links, hasIpv6: elements.has('guarded6 ipv6') };
    },
  });
  const flows = makeFlowSweeper(deps);
  const former = makeFormerListeners(deps);
  const ours = makeNatListeners({ ...deps, former });
  const usesOf = makeUses();
  const serverlessOf = makeServerlessIndex();
  const watchRoom = makeFlowRoomWatch({ exec, clock, log, metrics, isInPlace: () => kernel.isInPlace() });
  /** `undefined` before the first `apply`: until then the table of an earlier process stays as it is. */
  let published: TrafficTable | undefined;
  /** The same with the listeners that this dataplane has of it. */
  let table: TrafficTable = emptyTable;
  /** The rules for the host itself stay: without their chains, the kernel would forget what it has learnt. */
  let hasHosted = false;
  /** The contents of the kernel. */
  let inForce: NatProgram = natLayout.empty;
  /** The refusals of the last program; `undefined`: it failed, or there was none. */
  let accepted: Refusals<ListenerKey> | undefined;
  /** An earlier process may have left a table. */
  let isFirst = true;
  const inTurn = makeSerial();
  const changed = makeLatch();
  /** Set when remnants that could not be removed are due again. */
  const haveRemnants = makeLatch();
  /** Set when there is a table to watch. */
  const inUse = makeLatch();
  const alarm = makeAlarm({ clock, signal: lifetime, ring: () => changed.set() });

  const isLost = makeLostNodes({ ...deps, alarm });

  const transact = async (listeners: Listeners, guard: Guard, signal: AbortSignal): ReturnType<Nat['apply']> => {
    const { places, ...parts } = plan({ table: { ...table, listeners }, verdicts: health.verdicts(), isLost });
    const serverless = serverlessOf(table);
    hasHosted ||= parts.hosted.size > 0;
    const target = {
      ...parts,
      listeners,
      former: former.keys(),
      serverless,
      numberOf,
      own: deps.own(),
      guard,
      hasHosted,
    };
    const refusals = await kernel.apply(target, signal);
    const held = listeners.with(Array.from(refusals.keys(), (key) => [key, inForce.listeners.get(key)]));
    inForce = { ...target, listeners: held };
    flows.note(held, places);
    inUse.set();
    return refusals;
  };

  /** The table gets these listeners, and the host forwards their packets. */
  const put = async (listeners: Listeners, signal: AbortSignal, isAudit = false): ReturnType<Nat['apply']> => {
    const before = inForce.listeners;
    const mayKeep = !isAudit && !(isFirst && (await kernel.exists(signal)));
    try {
      const families = usesOf(listeners).families;
      const guard = await forwarding.guardFor(families, isAudit, signal);
      const refusals = await transact(listeners, guard, signal);
      await forwarding.switchOn(families, signal);
      isFirst = false;
      return refusals;
    } catch (error) {
      if (!(error instanceof ForwardingError) || !mayKeep) throw error;
      // Removals do not need it.
      const refused = PersistentMap.changedKeys(before, listeners).filter((key) => listeners.has(key));
      const kept = listeners.with(refused.map((key) => [key, before.get(key)]));
      const refusals = await transact(kept, await forwarding.present(signal), signal);
      return new Map([...refusals, ...refused.map((key) => [key, messageOf(error)] as const)]);
    }
  };

  const removeRemnants = async (signal: AbortSignal): Promise<void> => {
    if (!kernel.isInPlace()) return;
    await flows.sweep(signal);
    const { listeners } = inForce;
    const guard = await forwarding.restrictTo(usesOf(listeners).families, signal);
    if (listeners.size === 0) return await kernel.remove(signal);
    if (guard === inForce.guard) return;
    inForce = { ...inForce, guard };
    await kernel.apply(inForce, signal);
  };
  const remnants = makePacedAttempts({
    what: 'ending stale flows of nat',
    work: removeRemnants,
    retry: waitLimits.usual,
    ring: () => haveRemnants.set(),
    clock,
    log,
    lifetime,
  });

  const without = (keys: readonly ListenerKey[]): Listeners =>
    table.listeners.with(keys.map((key) => [key, undefined]));

  /** A listener that another Service gets waits until the flows of the former one have ended. */
  const putInTurn = async (signal: AbortSignal, isAudit: boolean): ReturnType<Nat['apply']> => {
    const handedOver = flows.handedOver(table.listeners);
    let refusals = await put(without(handedOver), signal, isAudit);
    await remnants.attempt(signal);
    if (handedOver.length === 0) return refusals;
    const stuck = flows.handedOver(table.listeners);
    if (stuck.length < handedOver.length) {
      refusals = await put(without(stuck), signal);
      await remnants.attempt(signal);
    }
    const words = `the flows of the Service that had this port could not be ended: ${remnants.failure() ?? ''}`;
    return new Map([...refusals, ...stuck.map((key) => [key, words] as const)]);
  };

  const program = async (signal: AbortSignal, isAudit = false): Promise<void> => {
    if (published === undefined) return;
    accepted = undefined;
    const isNeeded = table.listeners.size > 0 || kernel.isInPlace() || (isFirst && (await kernel.exists(signal)));
    accepted = isNeeded ? await putInTurn(signal, isAudit) : new Map();
    ours.note(accepted, published);
    isFirst = false;
  };

  const look = (how: 'audit' | 'check', signal: AbortSignal): Promise<number> =>
    inTurn(async () => {
      const found = await kernel[how](signal); // first: the rest asks conntrack and the links, which may fail
      table = { ...table, listeners: await ours.withoutIdle(published ?? emptyTable, table.listeners, signal) };
      await program(signal, true); // links and own addresses may have changed
      return found === undefined ? 0 : 1;
    });

  const watch = async (signal: AbortSignal): Promise<void> => {
    while (!kernel.isInPlace()) await inUse.wait(signal); // without a listener of nat, nothing is watched
    await watchTable(
      {
        ...deps,
        what: 'the nftables table of nat',
        table: natTable,
        kernel,
        inTurn,
      },
      signal,
    );
  };

  /** Returns whether it differs from the table before. */
  const adopt = (next: TrafficTable): boolean => {
    const adopted = ours.adopt(published ?? emptyTable, next, table.listeners);
    published = next;
    const old = table;
    table = { ...next, listeners: adopted.listeners };
    const { listeners, nodes, backends, withoutEndpoints } = table;
    const isSame = old.listeners === listeners && old.nodes === nodes && old.backends === backends;
    return !isSame || adopted.isMoved || old.withoutEndpoints !== withoutEndpoints;
  };

  return {
    outage: kernel.outage,
    prepare: (next, signal) =>
      inTurn(async () => {
        adopt(next);
        accepted = undefined; // `apply` ends the flows
        const waiting = flows.handedOver(table.listeners).map((key) => [key, waitingWords] as const);
        const refusals = await put(without(waiting.map(([key]) => key)), signal);
        return ours.refusalsOf(new Map([...refusals, ...waiting]), next);
      }),
    apply: (next, signal) =>
      inTurn(async () => {
        if (adopt(next) || accepted === undefined) await program(signal);
        return ours.refusalsOf(accepted ?? new Map(), next);
      }),
    counters: (signal, keys) => readNatCounters(exec, inForce.listeners, keys, signal),
    audit: (signal) => look('audit', signal),
    check: (signal) => look('check', signal),
    noteFacts: () => {
      if (forwarding.isOutdated()) changed.set();
    },
    run: async (signal) => {
      const end = health.subscribe(() => changed.set());
      try {
        await superviseAll(
          [
            (inner) =>
              runWhenSet({
                what: 'translating flows to the nodes that are up',
                due: changed,
                work: () => inTurn(() => program(inner)),
                retry: waitLimits.usual,
                level: 'error',
                clock,
                log,
                signal: inner,
              }),
            watch,
            watchRoom,
            async (inner) => {
              for (;;) {
                await haveRemnants.wait(inner);
                await inTurn(() => remnants.attempt(inner));
              }
            },
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
        accepted = undefined;
        if (!kernel.isInPlace() && !(await kernel.exists(signal))) return false;
        await put(table.listeners, signal);
        await removeRemnants(signal);
        return true;
      }),
  };
}

import { makeLatch, waitAtMost } from '../async/latch.ts';
import { runWhenSet } from '../async/run-when-set.ts';
import { makeSerial } from '../async/serial.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import { superviseAll } from '../async/supervise-all.ts';
import type { Ip } from '../core/ip/ip.ts';
import type { ListenerKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { HostReport } from '../core/traffic/report.ts';
import { makeServerlessIndex } from '../core/traffic/serverless.ts';
import { emptyTable, isSameTable, type Listener, type TrafficTable } from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import type { Confirmations } from '../ports/confirmations.ts';
import type { Direct } from '../ports/direct.ts';
import type { Health, NodeChecks } from '../ports/health.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { HostNetwork } from '../ports/network.ts';
import type { Nat } from '../ports/nat.ts';
import type { TableFile } from '../state/table.ts';
import { makeAddressIndex } from './addresses.ts';
import { runAudits } from './audit.ts';
import { makeAddressLifetime } from './address-lifetime.ts';
import { emptyHostState, type HostState, makePass, type PassPorts } from './pass.ts';
import { makePassMetrics } from './pass-metrics.ts';
import { makeQuarantine } from './quarantine.ts';
import { withKnownBackends } from './known-backends.ts';
import { tableToSave } from './listener-changes.ts';
import { makeReporter } from './reporter.ts';
import { makeStages, wordsOf } from './stages.ts';
import { withdrawn } from './withdrawn.ts';

/**
 * Makes one load-balancer host serve a traffic table, and reports the progress.
 *
 *   publish(table) ─► desired ─► pass ─► report ─► subscribers
 *                       ▲         │ a refused listener waits in the quarantine, the others are in force
 *              restore ─┘         │ a stage that fails as a whole is repeated after growing waits, one that is slow when it ends
 *                                 └► table file, for the next start
 */
export type Agent = {
  /** Replaces the table that the host serves. Returns at once; `report` and `subscribe` show the progress. */
  publish(table: TrafficTable): void;
  report(): HostReport;
  /** Calls `listener` after each change of the report; returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
  /**
   * Whether this host may serve. If not, it is withdrawn: its addresses are removed, new connections are dropped so that
   * clients try again elsewhere, and established ones continue as long as their packets arrive here.
   */
  setServing(isServing: boolean): void;
  /**
   * Until when the kernel keeps the added addresses if furiwake does not call this again: another host may take them over
   * then. Monotonic ms; `undefined`: without end.
   */
  keepAddressesUntil(untilMs: number | undefined): void;
  /**
   * Takes the last table of the state directory as desired: after a reboot, before the API server answers. Listeners on an
   * address for which `neededFor` says what the host needs it for are removed.
   */
  restore(neededFor: (address: Ip) => string | undefined): Promise<void>;
  /** The table that was published or restored last. */
  desired(): TrafficTable | undefined;
  /** Why this host does not serve the last table, one line for each cause; empty when it does. */
  troubles(): readonly string[];
  /** Calls `listener` when `troubles` may have changed; returns a function that ends the subscription. */
  onTroubles(listener: () => void): () => void;
  /** Programs, repairs and retries until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

export type AgentDeps = Omit<PassPorts, 'addressesOf' | 'serverlessOf' | 'mayAttract'> & {
  readonly network: HostNetwork;
  readonly direct: Direct;
  readonly nat: Nat;
  readonly health: Health & NodeChecks;
  readonly confirmations: Confirmations;
  readonly tableFile: TableFile;
  /** Before `setServing` is called. */
  readonly isServing: boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

export function makeAgent(deps: AgentDeps): Agent {
  const { network, placement, advertiser, health, confirmations, tableFile, clock, log, metrics } = deps;
  const ports: PassPorts = {
    ...deps,
    addressesOf: makeAddressIndex(),
    serverlessOf: makeServerlessIndex(),
    mayAttract: () => isServing,
  };
  const count = makePassMetrics(metrics);

  let desired: TrafficTable | undefined;
  let isServing = deps.isServing;
  let state = emptyHostState;
  let blocked: ReadonlyMap<ListenerKey, string | undefined> = new Map();
  /** By the last pass: until a stage that is not done is due, the same one changes nothing. */
  let lastTried = emptyTable;
  const quarantine = makeQuarantine({ log, monotonic: () => clock.monotonic() });
  const wake = makeLatch();
  const onLateEnd = (): void => {
    lastTried = emptyTable;
    wake.set();
  };
  const stages = makeStages({ onFailure: count.failure, onLateEnd, clock, log });
  const reporter = makeReporter({
    health,
    confirmations,
    network,
    advertiser,
    direct: deps.direct,
    proxy: deps.proxy,
    progress: () => ({
      desired,
      isServing,
      state,
      refusalOf: (key) => {
        const words = blocked.get(key) ?? (stages.areBlocked() ? stages.troubles()[0] : undefined);
        return quarantine.entries.get(key) ?? (words === undefined ? undefined : { words, isWaiting: false });
      },
    }),
  });
  /** One change of the host at a time. */
  const inTurn = makeSerial();
  /** Set when the host must withdraw, or may serve: this ends the wait after a failure. */
  const urgent = makeLatch();
  const saveLatch = makeLatch();
  const withdrawal = makeLatch();
  const lifetime = makeAddressLifetime(deps);
  if (!isServing) withdrawal.set(); // the host may have the addresses of an earlier process
  const troubleListeners = makeSubscribers();

  const target = (): TrafficTable | undefined => {
    const admitted = desired && confirmations.admit(desired);
    return admitted && (isServing ? admitted : withdrawn(admitted));
  };

  const pass = async (wanted: TrafficTable, signal: AbortSignal): Promise<void> => {
    const startedAt = clock.monotonic();
    const tried = quarantine.leaveOut(wanted, state.inForce, startedAt);
    const wereDone = stages.areDone();
    const attempts = stages.begin();
    const isKnown = wereDone ? isSettled(tried) : isApplied(tried) || isSameTable(tried, lastTried);
    if (isKnown && !attempts.areDue) return;
    const before = state;
    const onHeld = (held: HostState['held']): void => {
      state = { ...state, held };
      reporter.update(PersistentMap.changedKeys(before.held, held));
      saveLatch.set();
    };
    const result = await makePass(ports, state, tried, { onHeld, stages: attempts, signal });
    ({ state, blocked } = result);
    lastTried = result.refused.size === 0 ? tried : emptyTable;
    attempts.end();
    const nowMs = clock.monotonic();
    quarantine.note(tried, result, nowMs);
    const quarantined = quarantine.entries.size;
    count.pass({ ms: nowMs - startedAt, refused: result.refused.size, inForce: state.inForce.size, quarantined });
    if (!wereDone || !stages.areDone()) reporter.updateAll();
    else
      reporter.update(
        new Set([
          ...PersistentMap.changedKeys(before.held, state.held),
          ...PersistentMap.changedKeys(before.inForce, state.inForce),
          ...result.refused.keys(),
        ]),
      );
    saveLatch.set();
  };

  const isApplied = (tried: TrafficTable): boolean =>
    state.programmed !== undefined && isSameTable(state.programmed.table, tried);
  const isSettled = (tried: TrafficTable): boolean =>
    isApplied(tried) && PersistentMap.changedKeys(state.held, tried.listeners).length === 0;

  const passes = async (signal: AbortSignal): Promise<void> => {
    for (;;) {
      await untilDue(signal);
      const wanted = target();
      if (wanted === undefined) continue;
      await inTurn(() => pass(wanted, signal));
      troubleListeners.tell();
    }
  };

  /** Until a change or the end of a wait. While steering fails, changes wait, too. */
  const untilDue = async (signal: AbortSignal): Promise<void> => {
    const isStuck = stages.areBlocked();
    const dueMs = Math.min(stages.dueMs() ?? Infinity, (isStuck ? undefined : quarantine.nextDueMs()) ?? Infinity);
    if (dueMs === Infinity) return await wake.wait(signal);
    await waitAtMost(dueMs - clock.monotonic(), isStuck ? urgent : wake, clock, signal);
  };

  /** Waits for no pass over the host: another host may announce these addresses within seconds. */
  const withdraw = (signal: AbortSignal): Promise<void> =>
    runWhenSet({
      what: 'withdrawing this host',
      due: withdrawal,
      work: async () => {
        if (!isServing) await placement.remove(PersistentMap.empty(), signal);
      },
      retry: { firstMs: 100, mostMs: 5_000 },
      level: 'error',
      clock,
      log,
      signal,
    });

  /** For the next start. A disk that fails delays no Service. */
  const save = (signal: AbortSignal): Promise<void> =>
    runWhenSet({
      what: 'saving the table of listeners',
      due: saveLatch,
      work: async () => {
        if (desired !== undefined) await tableFile.write(tableToSave(desired, state.held));
      },
      retry: { firstMs: 1_000, mostMs: 60_000 },
      clock,
      log,
      signal,
    });

  return {
    publish: (table) => {
      const before = desired?.listeners ?? PersistentMap.empty<ListenerKey, Listener>();
      desired = withKnownBackends(table, desired);
      // The next pass reports the new listeners; while stages fail, the failure is reported at once.
      if (!stages.areDone()) reporter.update(PersistentMap.changedKeys(before, table.listeners));
      wake.set();
      saveLatch.set();
    },
    report: () => reporter.report(),
    subscribe: (listener) => reporter.subscribe(listener),
    setServing: (next) => {
      if (isServing === next) return;
      isServing = next;
      stages.hurry();
      if (!next) {
        advertiser.advertise(PersistentMap.empty());
        withdrawal.set();
      }
      reporter.updateAll();
      wake.set();
      urgent.set();
    },
    keepAddressesUntil: (untilMs) => lifetime.keepUntil(untilMs),
    restore: async (neededFor) => {
      const table = await tableFile.read();
      if (table === undefined) return;
      const needed = [...table.listeners.values()].filter(({ address }) => neededFor(address) !== undefined);
      for (const { key, address } of needed)
        log.error({ listener: key }, `not served: ${address.text} is in use as ${neededFor(address) ?? ''}`);
      desired = { ...table, listeners: table.listeners.with(needed.map(({ key }) => [key, undefined])) };
      state = { ...state, held: table.listeners };
      reporter.update(table.listeners.keys());
      wake.set();
    },
    desired: () => desired,
    troubles: () => {
      const trouble = deps.proxy.trouble();
      const isUnprogrammed = state.programmed === undefined && stages.areDone();
      const words = isUnprogrammed ? ['nothing is programmed yet'] : stages.troubles();
      // Often the same: a stage fails with the words of HAProxy's trouble.
      return [...new Set(trouble === undefined ? words : [...words, wordsOf(trouble)])];
    },
    onTroubles: (listener) => {
      const ends = [troubleListeners.subscribe(listener), deps.proxy.onTrouble(listener)];
      return () => ends.forEach((end) => end());
    },
    run: (signal) => {
      const ends = [reporter.follow(), confirmations.subscribe(() => wake.set())];
      const auditNow = makeLatch();
      return superviseAll(
        [
          passes,
          withdraw,
          save,
          (until) =>
            runAudits(
              {
                ...deps,
                inTurn,
                programmed: () => state.programmed,
                isProxySlow: () => stages.areSlow(),
                mayAttract: ports.mayAttract,
                auditNow,
                onAddresses: () => reporter.noteAddresses(),
              },
              until,
            ),
          (until) => network.watch(() => auditNow.set(), until),
          (until) => health.run(() => desired?.nodes, until),
          ...[deps.proxy, deps.steering, deps.direct, deps.nat, confirmations, advertiser, lifetime].map(
            (part) => (until: AbortSignal) => part.run(until),
          ),
        ],
        signal,
      ).finally(() => ends.forEach((end) => end()));
    },
  };
}

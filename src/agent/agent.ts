import { makeBackoff } from '../async/backoff.ts';
import { makeLatch } from '../async/latch.ts';
import { makeSerial } from '../async/serial.ts';
import { superviseAll } from '../async/supervise-all.ts';
import { makeTrouble } from '../async/trouble.ts';
import type { Ip } from '../core/ip/ip.ts';
import type { ListenerKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { HostReport } from '../core/traffic/report.ts';
import { isSameTable, type Listener, type TrafficTable } from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import type { Health } from '../ports/health.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { TableFile } from '../state/table.ts';
import { makeAddressIndex } from './addresses.ts';
import { runAudits } from './audit.ts';
import { emptyHostState, makePass, type PassPorts, wordsOf } from './pass.ts';
import { makeQuarantine } from './quarantine.ts';
import { makeReporter } from './reporter.ts';
import { runSaves, tableToSave } from './save.ts';
import { withdrawn } from './withdrawn.ts';

/**
 * Makes one load-balancer host do what a traffic table says, and reports how far it is.
 *
 *   publish(table) ─► desired ─► pass ─► report ─► subscribers
 *                       ▲         │ what a tool refuses waits in the quarantine, the rest is in force
 *              restore ─┘         │ what fails as a whole is repeated after growing waits
 *                                 └► table file, for the next start
 */
export type Agent = {
  /** Replaces what the host is to do. Returns at once; `report` and `subscribe` tell what comes of it. */
  publish(table: TrafficTable): void;
  report(): HostReport;
  /** Calls `listener` after each change of the report; returns the end of the subscription. */
  subscribe(listener: () => void): () => void;
  /**
   * Whether this host may serve. If not, it is withdrawn: its addresses are removed, new connections are dropped so that
   * clients try again elsewhere, and established ones continue as long as their packets arrive here.
   */
  setServing(isServing: boolean): void;
  /**
   * Takes the last table of the state directory as desired: after a reboot, before the API server answers. Listeners on an
   * address for which `neededFor` says what the host needs it for are removed.
   */
  restore(neededFor: (address: Ip) => string | undefined): Promise<void>;
  /** What was published or restored last. */
  desired(): TrafficTable | undefined;
  /** Why this host does not do what was asked last, a line each; empty when it does. */
  troubles(): readonly string[];
  /** Programs, repairs and retries until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

export type AgentDeps = Omit<PassPorts, 'addressesOf'> & {
  readonly health: Health;
  readonly tableFile: TableFile;
  /** Before `setServing` is called. */
  readonly isServing: boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

const passSeconds: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const retry = { firstMs: 200, mostMs: 30_000 };

export function makeAgent(deps: AgentDeps): Agent {
  const { placement, health, tableFile, clock, log, metrics } = deps;
  const ports: PassPorts = { ...deps, addressesOf: makeAddressIndex() };
  const durations = metrics.histogram(
    'furiwake_dataplane_apply_seconds',
    'Time of one pass over the host',
    passSeconds,
  );
  const failures = metrics.counter(
    'furiwake_dataplane_errors_total',
    'Passes in which a step failed as a whole, or a listener was refused',
    ['kind'],
  );
  const listenerGauge = metrics.gauge('furiwake_listeners', 'Listeners by state', ['state']);

  let desired: TrafficTable | undefined;
  let isServing = deps.isServing;
  let state = emptyHostState;
  let failure: { readonly words: string; readonly dueMs: number } | undefined;
  const quarantine = makeQuarantine();
  const reporter = makeReporter({
    health,
    placement,
    progress: () => ({
      desired,
      isServing,
      state,
      refusalOf: (key) => quarantine.entries.get(key)?.words ?? failure?.words,
    }),
  });
  const backoff = makeBackoff(retry);
  const passTrouble = makeTrouble({
    what: 'programming this host',
    log,
    monotonic: () => clock.monotonic(),
    level: 'error',
  });
  /** One change of the host at a time. */
  const inTurn = makeSerial();
  const wake = makeLatch();
  /** Set when the host must be withdrawn, or may serve: that waits for no failure. */
  const urgent = makeLatch();
  const saveLatch = makeLatch();

  const target = (): TrafficTable | undefined => desired && (isServing ? desired : withdrawn(desired));

  const pass = async (wanted: TrafficTable, signal: AbortSignal): Promise<void> => {
    const startedAt = clock.monotonic();
    const tried = quarantine.leaveOut(wanted, state.inForce, startedAt);
    if (state.applied !== undefined && failure === undefined && isSettled(tried)) return;
    const before = state;
    const wasFailing = failure !== undefined;
    const result = await makePass(
      ports,
      state,
      tried,
      (held) => {
        state = { ...state, held };
        reporter.update(PersistentMap.changedKeys(before.held, held));
        saveLatch.set();
      },
      signal,
    );
    state = result.state;
    const nowMs = clock.monotonic();
    failure = undefined;
    if (result.failure === undefined) {
      quarantine.note(tried, result.refusals, nowMs);
      for (const key of result.refusals.keys()) noteRefused(key, result.refusals.get(key) ?? '', tried);
      backoff.reset();
      passTrouble.over();
    } else {
      failure = { words: wordsOf(result.failure), dueMs: nowMs + backoff.next() };
      failures.add(1, { kind: 'pass' });
      passTrouble.failed(result.failure);
    }
    durations.observe((nowMs - startedAt) / 1000);
    listenerGauge.set(state.inForce.size, { state: 'in force' });
    listenerGauge.set(quarantine.entries.size, { state: 'refused' });
    const isAll = wasFailing || failure !== undefined;
    if (isAll) reporter.updateAll();
    else
      reporter.update(
        new Set([
          ...PersistentMap.changedKeys(before.held, state.held),
          ...PersistentMap.changedKeys(before.inForce, state.inForce),
          ...result.refusals.keys(),
        ]),
      );
    saveLatch.set();
  };

  const isSettled = (tried: TrafficTable): boolean =>
    state.applied !== undefined &&
    isSameTable(state.applied, tried) &&
    PersistentMap.changedKeys(state.held, tried.listeners).length === 0;

  const told = new Map<ListenerKey, string>();
  const noteRefused = (key: ListenerKey, words: string, { listeners }: TrafficTable): void => {
    failures.add(1, { kind: 'listener' });
    if (told.get(key) === words) return;
    told.set(key, words);
    log.warn({ listener: key, service: listeners.get(key)?.service, reason: words }, 'listener refused; retrying');
  };

  const passes = async (signal: AbortSignal): Promise<void> => {
    for (;;) {
      await untilDue(signal);
      const wanted = target();
      for (const key of told.keys()) if (!quarantine.entries.has(key)) told.delete(key);
      if (wanted !== undefined) await inTurn(() => pass(wanted, signal));
    }
  };

  /** Until there is something to do: a change, or the end of a wait. After a failure of a whole pass changes wait, too. */
  const untilDue = async (signal: AbortSignal): Promise<void> => {
    const dueMs = failure?.dueMs ?? quarantine.nextDueMs();
    if (dueMs === undefined) return await wake.wait(signal);
    using deadline = clock.deadline(Math.max(0, dueMs - clock.monotonic()), signal);
    const latch = failure === undefined ? wake : urgent;
    await latch.wait(deadline.signal).catch(() => signal.throwIfAborted());
  };

  return {
    publish: (table) => {
      const before = desired?.listeners ?? PersistentMap.empty<ListenerKey, Listener>();
      desired = table;
      // Those that are programmed soon are reported then; a host that fails says so of new ones at once.
      if (failure !== undefined) reporter.update(PersistentMap.changedKeys(before, table.listeners));
      wake.set();
      saveLatch.set();
    },
    report: () => reporter.report(),
    subscribe: (listener) => reporter.subscribe(listener),
    setServing: (next) => {
      if (isServing === next) return;
      isServing = next;
      wake.set();
      urgent.set();
    },
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
    troubles: () => [
      ...(state.applied === undefined ? ['nothing is programmed yet'] : []),
      ...(failure === undefined ? [] : [failure.words]),
      ...(deps.proxy.trouble() === undefined ? [] : [deps.proxy.trouble() ?? '']),
    ],
    run: (signal) => {
      const unsubscribe = health.subscribe(() => reporter.update([]));
      const auditNow = makeLatch();
      return superviseAll(
        [
          passes,
          (until) =>
            runSaves(
              { tableFile, table: () => desired && tableToSave(desired, state.held), due: saveLatch, clock, log },
              until,
            ),
          (until) =>
            runAudits(
              {
                ...deps,
                inTurn,
                applied: () => state.applied,
                proxied: () => state.proxied,
                addressesOf: ports.addressesOf,
                auditNow,
                onAddresses: () => reporter.noteAddresses(),
              },
              until,
            ),
          (until) => deps.proxy.run(until),
          (until) => deps.steering.run(until),
          (until) => deps.advertiser.run(until),
          (until) => placement.run(() => auditNow.set(), until),
        ],
        signal,
      ).finally(unsubscribe);
    },
  };
}

import { setImmediate } from 'node:timers/promises';
import type { ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Verdict } from '../core/reasons.ts';
import { makeSerial } from '../async/serial.ts';
import { superviseAll } from '../async/supervise-all.ts';
import { diffRows, isSameTable, unionOf } from '../core/traffic/diff.ts';
import { emptyTable, type Row, type TrafficTable } from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import type { Announcer, Classifier, Host } from '../ports/host.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Proxy } from '../ports/proxy.ts';
import type { TableFile } from '../state/table.ts';

/**
 * Makes one load-balancer host do what a traffic table says, and says how far it is.
 *
 *   submit(table) ─► proxy.upsert, ────► classifier.apply ─► addresses ─► proxy.prune, connections ended,
 *                 │  addresses recorded                                   addresses released ─► answered
 *                 └► table file ─────────────────────────────────────────────────────────────────┘
 *
 * What comes is made ready before packets are sent to it, and what goes gets no more packets before it is taken away.
 */
export type Agent = {
  /** Puts the last table of the state directory in force: after a reboot, before the API server answers. */
  restore(signal: AbortSignal): Promise<void>;
  /**
   * Puts `table` in force. Resolves when HAProxy and the kernel have acknowledged it, or have refused it (`answerTo`
   * tells, and it is tried again with backoff): with the Services for which the answer may have changed.
   */
  submit(table: TrafficTable, signal: AbortSignal): Promise<ReadonlySet<ServiceKey>>;
  /** `ready` when HAProxy and the kernel have acknowledged just this row, else why not; `undefined`: not answered yet. */
  answerTo(row: Row): 'ready' | Verdict | undefined;
  /** Why this host does not do what was asked last, in words without a newline; empty when it does. */
  troubles(): readonly string[];
  /** The table in force: the last one that was acknowledged as a whole. */
  inForce(): TrafficTable;
  /** `inForce` and, after a change that was refused half-way, all that was tried since. */
  mayHold(): TrafficTable;
  /** Supervises, repairs drift and retries until `signal` aborts. `onChange`: answers changed without a submit. */
  run(onChange: (services: ReadonlySet<ServiceKey>) => void, signal: AbortSignal): Promise<void>;
};

export type AgentDeps = {
  readonly proxy: Proxy;
  readonly classifier: Classifier;
  readonly announcer: Announcer;
  readonly host: Host;
  readonly tableFile: TableFile;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** How often everything is read back and compared; default 30,000 ms. */
  readonly auditEveryMs?: number;
};

const applyBuckets: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const retryFirstMs = 100;
const retryMostMs = 10_000;

export function makeAgent(deps: AgentDeps): Agent {
  const { proxy, classifier, announcer, host, tableFile, clock, log } = deps;
  const applySeconds = deps.metrics.histogram(
    'furiwake_dataplane_apply_seconds',
    'Time to put a changed table in force',
    applyBuckets,
  );
  const listeners = deps.metrics.gauge('furiwake_listeners', 'Listeners in force');
  const failures = deps.metrics.counter('furiwake_dataplane_errors_total', 'Tables that HAProxy or the kernel refused');

  let inForce: TrafficTable = emptyTable;
  let mayHold: TrafficTable = emptyTable;
  let wanted: TrafficTable = emptyTable;
  let refusal: Verdict | undefined;
  let isStarted = false;
  /** One change of the host at a time, in the order asked for. */
  const inTurn = makeSerial();

  const apply = async (table: TrafficTable, signal: AbortSignal): Promise<void> => {
    const startedAt = clock.monotonic();
    mayHold = unionOf(mayHold, table);
    const gone = rowsGone(mayHold, table);
    // What goes is in the file until it is gone altogether: who comes after a crash has to know whose connections to end.
    // Else side by side, for the file is for a reboot; but nobody is told before both are done.
    const save = (): Promise<void> => tableFile.write(table);
    const isProgrammed = program(table, gone, signal);
    const isSaved = gone.length > 0 ? isProgrammed.then(save) : whileProxyWorks(save);
    for (const result of await Promise.allSettled([isProgrammed, isSaved]))
      if (result.status === 'rejected') throw result.reason;
    inForce = table;
    mayHold = table;
    listeners.set(table.rows.size);
    applySeconds.observe((clock.monotonic() - startedAt) / 1000);
  };

  const program = async (table: TrafficTable, gone: readonly Row[], signal: AbortSignal): Promise<void> => {
    if (!isStarted) {
      const how = await proxy.ensure(table, signal);
      log.info({ how, listeners: table.rows.size }, `HAProxy ${how}`);
      isStarted = true;
    }
    const handed = gone.filter((row) => table.rows.has(row.key));
    if (handed.length > 0) {
      // Closed while it changes hands: nobody comes to the one Service by what was allowed to the other.
      const rows = inForce.rows.with(handed.map((row) => [row.key, undefined]));
      await classify({ ...inForce, rows }, signal);
    }
    const isReady = proxy.upsert(table, signal);
    whileProxyWorks(() => announcer.prepare(table.hosted, signal)).catch(() => undefined); // `ensure` does what is left
    await isReady;
    await classify(table, signal);
    await announcer.ensure(table.hosted, signal);
    await proxy.prune(table, signal);
    if (gone.length > 0) await host.endConnections(gone, signal);
    await announcer.release(table.hosted, signal);
  };

  const classify = async (table: TrafficTable, signal: AbortSignal): Promise<void> => {
    const added = await announcer.added(table.hosted, signal);
    await classifier.apply(table, added, (row) => proxy.portOf(row), signal);
  };

  const attempt = async (table: TrafficTable, signal: AbortSignal): Promise<ReadonlySet<ServiceKey>> => {
    wanted = table;
    if (isStarted && refusal === undefined && isSameTable(inForce, table)) return new Set();
    const before = inForce;
    const wasRefused = refusal !== undefined;
    const refusedBefore = announcer.refused();
    try {
      await apply(table, signal);
      refusal = undefined;
    } catch (error) {
      signal.throwIfAborted();
      failures.add(1);
      const message = error instanceof Error ? error.message : String(error);
      refusal = { reason: 'DataplaneError', message };
      log.error({ err: error }, 'the change was refused; what was in force still is');
    }
    const affected = affectedServices(before, table, wasRefused || refusal !== undefined);
    return new Set([...affected, ...servicesRehosted(refusedBefore)]);
  };

  /** The Services with an address that the kernel takes by now, or no longer. */
  const servicesRehosted = (before: ReadonlyMap<string, string>): ReadonlySet<ServiceKey> => {
    const now = announcer.refused();
    if (now === before) return new Set();
    const rows = [...inForce.rows.values()].filter(({ address }) => before.get(address.text) !== now.get(address.text));
    return new Set(rows.map((row) => row.service));
  };

  const retry = async (onChange: (services: ReadonlySet<ServiceKey>) => void, signal: AbortSignal): Promise<void> => {
    for (
      let waitMs = retryFirstMs;
      ;
      waitMs = refusal === undefined ? retryFirstMs : Math.min(waitMs * 2, retryMostMs)
    ) {
      await clock.sleep(waitMs, signal);
      if (refusal === undefined) continue;
      const changed = await inTurn(() => attempt(wanted, signal));
      if (refusal === undefined) {
        log.info({}, 'the change is in force now');
        onChange(changed);
      }
    }
  };

  const audit = async (onChange: (services: ReadonlySet<ServiceKey>) => void, signal: AbortSignal): Promise<void> => {
    for (;;) {
      await clock.sleep(deps.auditEveryMs ?? 30_000, signal);
      if (!isStarted || refusal !== undefined) continue;
      try {
        const refusedBefore = announcer.refused();
        const repairs = await inTurn(async () => {
          if (refusal !== undefined) return 0; // what was recorded for the change must not be added for the table before it
          const others = (await proxy.audit(inForce, signal)) + (await classifier.audit(signal));
          const addresses = await announcer.audit(signal);
          await classify(inForce, signal); // one may have become the host's own
          return others + addresses;
        });
        const rehosted = servicesRehosted(refusedBefore);
        if (rehosted.size > 0) onChange(rehosted);
        if (repairs > 0) log.warn({ repairs }, 'somebody changed what furiwake had programmed; repaired');
      } catch (error) {
        signal.throwIfAborted();
        log.error({ err: error }, 'could not compare what is programmed with what should be');
      }
    }
  };

  return {
    restore: async (signal) => {
      const table = await tableFile.read();
      if (table === undefined) return;
      try {
        await inTurn(async () => {
          // What is not recorded is an own address of the host, which may come later than we do.
          const hosted = await announcer.recorded(table.hosted, signal);
          await attempt({ ...table, hosted }, signal);
        });
      } catch (error) {
        signal.throwIfAborted();
        log.error({ err: error }, 'what was served before cannot be put in force yet');
      }
    },
    submit: (table, signal) => inTurn(() => attempt(table, signal)),
    answerTo: (row) => {
      if (inForce.rows.get(row.key) === row) {
        const { text } = row.address;
        const words = announcer.refused().get(text);
        return words === undefined
          ? 'ready'
          : { reason: 'DataplaneError', message: `the kernel does not take the address ${text} (${words})` };
      }
      return wanted.rows.get(row.key) === row ? refusal : undefined;
    },
    troubles: () => [
      ...(inForce === emptyTable ? ['HAProxy and the kernel have not taken the first table yet'] : []),
      ...(isStarted && !proxy.isUp() ? ['HAProxy does not run'] : []),
      ...(refusal === undefined
        ? []
        : [`the last change was refused: ${refusal.message.replaceAll(/\s*\n\s*/g, '; ')}`]),
    ],
    inForce: () => inForce,
    mayHold: () => mayHold,
    run: async (onChange, signal) => {
      const parts = [
        (until: AbortSignal) => proxy.run(until),
        (until: AbortSignal) => classifier.run(until),
        (until: AbortSignal) => retry(onChange, until),
        (until: AbortSignal) => audit(onChange, until),
      ];
      await superviseAll(parts, signal);
    },
  };
}

/**
 * Once what was said to the proxy has left this process, which `work` would hold up: in the first turn of the event loop
 * the connection comes to be there, in the second it is written to.
 */
async function whileProxyWorks<T>(work: () => Promise<T>): Promise<T> {
  await setImmediate();
  await setImmediate();
  return await work();
}

/** Rows that the host may hold and that are not in `table`, or there of another Service: their connections must end. */
function rowsGone(mayHold: TrafficTable, table: TrafficTable): readonly Row[] {
  return PersistentMap.changedKeys(mayHold.byService, table.byService).flatMap((service) =>
    (mayHold.byService.get(service) ?? []).filter((row) => table.rows.get(row.key)?.service !== service),
  );
}

/** The Services of the rows that differ; of all rows when what was refused, or no longer is, may concern every one. */
function affectedServices(before: TrafficTable, after: TrafficTable, isAll: boolean): ReadonlySet<ServiceKey> {
  const { changed, gone } = diffRows(before, after);
  const rows = isAll ? [...after.rows.values(), ...gone] : [...changed, ...gone];
  return new Set(rows.map((row) => row.service));
}

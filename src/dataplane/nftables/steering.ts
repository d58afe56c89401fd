import { waitLimits } from '../../async/backoff.ts';
import { makeLatch } from '../../async/latch.ts';
import { runWhenSet } from '../../async/run-when-set.ts';
import { makeSerial } from '../../async/serial.ts';
import { superviseAll } from '../../async/supervise-all.ts';
import { makeTrouble } from '../../async/trouble.ts';
import type { Family } from '../../core/ip/ip.ts';
import { emptyTable, type Listener, usesHaproxy } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Host } from '../../ports/host.ts';
import type { Steering } from '../../ports/steering.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import { readElementCounters } from './element-counters.ts';
import { makeFormerNat } from './former-nat.ts';
import { makeExcludedClients } from './excluded-clients.ts';
import { addressKey, portKey } from './element-keys.ts';
import { makeRouting } from './routing.ts';
import { steeringRules, steeringTable } from './ruleset.ts';
import { makeOwnAddressIndex, steeringLayout } from './steering-layout.ts';
import { makeTableReconciler } from './table-reconciler.ts';
import { watchTable } from './watch-table.ts';

/**
 * nftables in front of HAProxy: table `inet furiwake`, and routing rules for the mark. Its programs end with
 * `lifetime`; the table stays, so that traffic continues.
 */
export function makeSteering(deps: {
  readonly host: Pick<Host, 'endConnections'>;
  /** See `makeBridgeFilter`. */
  readonly isBridgeFiltered: () => Promise<boolean>;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly lifetime: AbortSignal;
}): Steering {
  const { exec, clock, log, metrics } = deps;
  const hasOwnAddresses = makeOwnAddressIndex();
  const formerNat = makeFormerNat();
  let isBridgeFiltered = false;
  const repairs = metrics.counter(
    'furiwake_nftables_repairs_total',
    'Times that the table or a routing rule was restored',
  );
  const table = makeTableReconciler({
    ...deps,
    repairs,
    table: steeringTable,
    layout: steeringLayout,
    rulesOf: (target) =>
      steeringRules({
        hasOwnAddresses: hasOwnAddresses(target),
        isBridgeFiltered: target.isBridgeFiltered ?? false,
        hasFormerNat: target.hasFormerNat ?? false,
      }),
  });
  const routing = makeRouting(deps);
  const excludedClients = makeExcludedClients(deps);
  const routingTrouble = makeTrouble({ what: 'adding the routing rule for marked packets', log, clock });

  const inTurn = makeSerial();
  /** Those of the last target. */
  let asked = emptyTable.listeners;
  /** Those in force: of a listener that nft refused, the one before. */
  let listeners = emptyTable.listeners;

  const ensureRouting = async (signal: AbortSignal): Promise<number> => {
    try {
      const families = await routing.ensure(signal);
      if (families.length > 0) log.info({ families }, 'routing rule for marked packets added');
      routingTrouble.over();
      return families.length;
    } catch (error) {
      signal.throwIfAborted();
      routingTrouble.failed(error); // only packets to an address that this host does not have need it
      return 0;
    }
  };

  const repairRouting = async (signal: AbortSignal): Promise<number> => {
    const repaired = table.isInPlace() ? await ensureRouting(signal) : 0;
    if (repaired > 0) repairs.add(repaired);
    return repaired;
  };

  const facts = makeLatch();
  const followBridges = (signal: AbortSignal): Promise<never> =>
    runWhenSet({
      what: 'adapting the nftables table to the bridges of this host',
      due: facts,
      work: () =>
        inTurn(async () => {
          isBridgeFiltered = await deps.isBridgeFiltered();
          if (await table.renew((target) => ({ ...target, isBridgeFiltered }), signal))
            log.info({ isBridgeFiltered }, 'nftables table adapted to br_netfilter');
        }),
      retry: waitLimits.quick,
      level: 'error',
      clock,
      log,
      signal,
    });

  const look = (how: 'audit' | 'check', signal: AbortSignal): Promise<number> =>
    inTurn(async () => (await repairRouting(signal)) + ((await table[how](signal)) === undefined ? 0 : 1));

  const watch = (signal: AbortSignal): Promise<void> =>
    watchTable(
      {
        ...deps,
        what: 'nftables and routing rules',
        table: steeringTable,
        kernel: table,
        inTurn,
        repairRules: async () =>
          (await inTurn(() => repairRouting(signal))) > 0 ? 'the routing rule is gone' : undefined,
      },
      signal,
    );

  return {
    outage: table.outage,
    apply: (target, signal) =>
      inTurn(async () => {
        if (!table.isInPlace()) {
          isBridgeFiltered = await deps.isBridgeFiltered();
          await ensureRouting(signal);
        }
        formerNat.follow(asked, target.listeners);
        asked = target.listeners;
        const hasFormerNat = formerNat.keys().size > 0;
        const refusals = await table.apply({ ...target, isBridgeFiltered, hasFormerNat }, signal);
        const asBefore = Array.from(refusals.keys(), (key) => [key, listeners.get(key)] as const);
        listeners = target.listeners.with(asBefore);
        excludedClients.follow(listeners, target.own);
        return refusals;
      }),
    refused: async (signal, keys) => {
      const restricted = Array.from(keys ?? listeners.keys()).flatMap((key) => {
        const listener = listeners.get(key);
        return listener?.sourceRanges === undefined || !usesHaproxy(listener) ? [] : listener;
      });
      if (restricted.length === 0) return new Map();
      const keysOf = (family: Family): readonly string[] =>
        restricted.filter(({ address }) => address.family === family).map(listenerElementKey);
      const wanted =
        keys === undefined
          ? ({ refused4: 'all', refused6: 'all' } as const)
          : { refused4: keysOf(4), refused6: keysOf(6) };
      const { refused4, refused6 } = await readElementCounters(exec, steeringTable, wanted, signal);
      return new Map(
        restricted.map((listener) => {
          const counters = listener.address.family === 4 ? refused4 : refused6;
          return [listener.key, counters.get(listenerElementKey(listener))?.packets ?? 0];
        }),
      );
    },
    audit: (signal) => look('audit', signal),
    check: (signal) => look('check', signal),
    run: (signal) => superviseAll([watch, followBridges, (inner) => excludedClients.run(inner)], signal),
    noteFacts: () => facts.set(),
    remove: (signal) =>
      inTurn(async () => {
        ({ listeners } = emptyTable);
        asked = emptyTable.listeners;
        const hadTable = await table.exists(signal);
        await table.remove(signal);
        return (await routing.remove(signal)) || hadTable;
      }),
  };
}

/** The key of a listener in the sets of the table. */
function listenerElementKey({ address, port }: Listener): string {
  return addressKey(address) + portKey(port);
}

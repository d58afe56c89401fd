import { waitLimits } from '../async/backoff.ts';
import { makeLatch } from '../async/latch.ts';
import { runWhenSet } from '../async/run-when-set.ts';
import { makeSerial } from '../async/serial.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import { superviseAll } from '../async/supervise-all.ts';
import { wordsOf } from '../async/error-words.ts';
import type { Ip } from '../core/ip/ip.ts';
import type { ListenerKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { HostReport } from '../core/traffic/report.ts';
import { makeServerlessIndex } from '../core/traffic/serverless.ts';
import { type Listener, type TrafficTable } from '../core/traffic/table.ts';
import type { AddressExpiry } from '../ports/address-expiry.ts';
import type { Clock } from '../ports/clock.ts';
import type { Confirmations } from '../ports/confirmations.ts';
import type { Direct } from '../ports/direct.ts';
import type { Health, NodeChecks } from '../ports/health.ts';
import type { Advertiser, DuplicateProbe } from '../ports/advertiser.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { HostNetwork } from '../ports/network.ts';
import type { Nat } from '../ports/nat.ts';
import type { Proxy } from '../ports/proxy.ts';
import type { TableFile } from '../state/table.ts';
import { makeAddressIndex, noAddresses, withoutOwn } from './addresses.ts';
import { runAudits } from './audit.ts';
import { makeAddressLifetime } from './address-lifetime.ts';
import { makeKeptElsewhere } from './kept-elsewhere.ts';
import type { PassPorts } from './steps.ts';
import { makePasses } from './passes.ts';
import { withKnownEndpoints } from './known-endpoints.ts';
import { tableToSave } from './listener-changes.ts';
import { makeProxied } from './proxied.ts';
import { makeReporter } from './reporter.ts';
import { makeServingRight } from './serving-right.ts';
import { makeTableTroubles } from './table-troubles.ts';
import { makeTakenAddresses } from './taken-addresses.ts';
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
   * clients try again elsewhere, and established ones continue as long as their packets arrive here. A host that starts without the
   * right to serve leaves what an earlier process programmed as it is until the first call: addresses with a lifetime end by
   * themselves, the others are removed at once.
   */
  setServing(isServing: boolean): void;
  isServing(): boolean;
  /** Whether the last table has addresses that furiwake adds to the host. */
  hasAddresses(): boolean;
  /**
   * Until when the kernel keeps the added addresses if furiwake does not call this again: another host may take them over
   * then. Monotonic ms; `undefined`: without end.
   */
  keepAddressesUntil(untilMs: number | undefined): void;
  /**
   * The other hosts that keep their addresses, by the Lease: while there are some, an address that another machine on the LAN answers
   * for is not served here.
   */
  setKeepers(hosts: readonly string[]): void;
  /**
   * Whether the Lease of this host has ended, and it serves on because it has always been alone: an address whose LAN has lost its carrier
   * is removed, and added again only after a probe, for another host may have taken over.
   */
  setCutOff(isCutOff: boolean): void;
  /** Whether this host leaves addresses to another machine. */
  leavesAddresses(): boolean;
  /**
   * Takes the last table of the state directory as desired: after a reboot, before the API server answers. Listeners on an
   * address for which `neededFor` says what the host needs it for are removed. With `boot`, another host may have taken over since:
   * addresses that another machine on the LAN has are not served before a table is published.
   */
  restore(neededFor: (address: Ip) => string | undefined, boot?: AbortSignal): Promise<void>;
  /** The table that was published or restored last. */
  desired(): TrafficTable | undefined;
  /** Why this host does not serve the last table, one line for each cause; empty when it does. */
  troubles(): readonly string[];
  /** Calls `listener` when `troubles` may have changed; returns a function that ends the subscription. */
  onTroubles(listener: () => void): () => void;
  /** Programs, repairs and retries until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

export type AgentDeps = Omit<
  PassPorts,
  'proxied' | 'portOf' | 'addressesOf' | 'serverlessOf' | 'mayAttract' | 'announce'
> & {
  readonly expiry: AddressExpiry;
  readonly advertiser: Advertiser;
  readonly duplicateProbe: DuplicateProbe;
  readonly proxy: Proxy;
  readonly network: HostNetwork;
  readonly direct: Direct;
  readonly nat: Nat;
  readonly health: Health & NodeChecks;
  readonly confirmations: Confirmations;
  readonly tableFile: TableFile;
  /** Before `setServing` is called. False: see there. */
  readonly isServing: boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

export function makeAgent(deps: AgentDeps): Agent {
  const { network, advertiser, health, confirmations, tableFile, clock, log, metrics } = deps;
  const ports: PassPorts = {
    ...deps,
    proxied: makeProxied(deps.proxy, clock),
    portOf: (each) => deps.proxy.portOf(each),
    addressesOf: makeAddressIndex(),
    serverlessOf: makeServerlessIndex(),
    mayAttract: () => right.isServing(),
    announce: (addresses) => {
      announced = addresses;
      announceAgain();
    },
  };
  let announced = noAddresses;
  const announceAgain = (): void =>
    advertiser.advertise(right.isServing() ? withoutOwn(announced, network.addresses()) : noAddresses);

  let desired: TrafficTable | undefined;
  /** One change of the host at a time. */
  const inTurn = makeSerial();
  const saveLatch = makeLatch();
  const hasAddresses = (): boolean =>
    [...(desired?.listeners.values() ?? [])].some(({ isHostAddress }) => !isHostAddress);
  const lifetime = makeAddressLifetime({ ...deps, areNeeded: () => right.isServing() && hasAddresses() });
  const troubleListeners = makeSubscribers();
  const [taken, tables, kept] = [makeTakenAddresses(deps), makeTableTroubles(deps), makeKeptElsewhere(deps)];

  const right = makeServingRight({
    ...deps,
    onDecision: (isServing) => {
      if (!isServing) {
        announced = noAddresses;
        announceAgain();
        kept.forget();
      }
      passes.hurry();
      reporter.updateAll();
    },
  });

  const target = (): TrafficTable | undefined => {
    if (right.isUndecided() || desired === undefined) return undefined;
    const ours = taken.without(desired);
    return right.isServing() ? confirmations.admit(kept.admit(ours)) : withdrawn(confirmations.admit(ours));
  };

  const inForce = (): TrafficTable | undefined =>
    right.isServing() || right.isUndecided() ? desired && taken.without(desired) : undefined;

  const passes = makePasses({
    ports,
    target,
    onChange: (keys) => {
      reporter.update(keys);
      saveLatch.set();
    },
    onPass: () => troubleListeners.tell(),
    onHurried: () => reporter.updateAll(),
    inTurn,
    clock,
    log,
    metrics,
  });
  const reporter = makeReporter({
    ...deps,
    lifetime,
    kept,
    progress: () => ({ ...passes, desired, isServing: right.isServing(), state: passes.state() }),
  });

  /** For the next start. A disk that fails delays no Service. */
  const save = (signal: AbortSignal): Promise<void> =>
    runWhenSet({
      what: 'saving the table of listeners',
      due: saveLatch,
      work: async () => {
        if (desired === undefined) return;
        const ours = right.isServing() ? kept.toSave(desired) : desired;
        await tableFile.write(tableToSave(ours, passes.state()));
      },
      retry: waitLimits.patient,
      clock,
      log,
      signal,
    });

  return {
    publish: (table) => {
      taken.end();
      const before = desired?.listeners ?? PersistentMap.empty<ListenerKey, Listener>();
      desired = withKnownEndpoints(table, desired);
      // The next pass reports new listeners; while stages fail, that is reported at once. A pass under way may change those wanted again.
      if (!passes.areDone() || passes.state().underWay !== undefined)
        reporter.update(PersistentMap.changedKeys(before, table.listeners));
      passes.wake();
      saveLatch.set();
    },
    report: () => reporter.report(),
    subscribe: (listener) => reporter.subscribe(listener),
    isServing: () => right.isServing(),
    hasAddresses,
    setServing: (isServing) => right.set(isServing),
    keepAddressesUntil: (untilMs) => lifetime.keepUntil(untilMs),
    setKeepers: (hosts) => kept.setKeepers(hosts, inForce()),
    setCutOff: (isCutOff) => kept.setCutOff(isCutOff, inForce()),
    leavesAddresses: () => kept.leavesAny(),
    restore: async (neededFor, boot) => {
      const table = await tableFile.read();
      if (table === undefined) return;
      const needed = [...table.listeners.values()].filter(({ address }) => neededFor(address) !== undefined);
      for (const { key, address } of needed)
        log.error({ listener: key }, `not served: ${address.text} is in use as ${neededFor(address) ?? ''}`);
      desired = { ...table, listeners: table.listeners.with(needed.map(({ key }) => [key, undefined])) };
      if (boot !== undefined) await taken.watch(desired, deps.duplicateProbe, boot);
      passes.setHeld(table.listeners);
      reporter.update(table.listeners.keys());
      passes.wake();
    },
    desired: () => desired,
    troubles: () => {
      const trouble = deps.proxy.trouble();
      const isUnprogrammed = passes.state().programmed === undefined && passes.areDone();
      const words = isUnprogrammed && !right.isUndecided() ? ['nothing is programmed yet'] : passes.troubles();
      // Often the same: a stage fails with the words of HAProxy's trouble.
      const more = [tables, lifetime, taken, kept, advertiser].map((each) => each.trouble());
      return [...new Set([...words, trouble && wordsOf(trouble), ...more])].filter((each) => each !== undefined);
    },
    onTroubles: (listener) => {
      const ends = [troubleListeners.subscribe(listener), tables.subscribe(listener), deps.proxy.onTrouble(listener)];
      return () => ends.forEach((end) => end());
    },
    run: (signal) => {
      const ends = [
        reporter.follow(),
        confirmations.subscribe(() => passes.wake()),
        advertiser.onDuplicates((found) => {
          kept.note(found);
          if (taken.note(found)) passes.wake();
        }),
        kept.subscribe(() => {
          passes.wake();
          saveLatch.set();
          reporter.updateAll();
        }),
        deps.proxy.onTrouble(() => deps.proxy.trouble() ?? passes.resumeHaproxy()),
        lifetime.subscribe(() => lifetime.trouble() ?? passes.placeAgain()),
      ];
      const auditNow = makeLatch();
      return superviseAll(
        [
          (until) => passes.run(until),
          save,
          (until) =>
            runAudits(
              {
                ...deps,
                inTurn,
                programmed: () => passes.state().programmed,
                isUnsettled: (...of) => passes.isUnsettled(...of),
                mayAttract: ports.mayAttract,
                announceAgain,
                auditNow,
                onAddresses: () => {
                  kept.noteCarriers();
                  for (const each of [deps.steering, deps.direct, deps.nat]) each.noteFacts();
                  reporter.noteAddresses();
                },
              },
              until,
            ),
          (until) => network.watch(() => auditNow.set(), until),
          (until) => health.run(() => desired?.nodes, until),
          ...[deps.proxy, deps.steering, deps.direct, deps.nat, confirmations, advertiser, lifetime, right, kept].map(
            (part) => (until: AbortSignal) => part.run(until),
          ),
        ],
        signal,
      ).finally(() => ends.forEach((end) => end()));
    },
  };
}

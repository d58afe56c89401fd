import { waitLimits } from '../async/backoff.ts';
import { setImmediate } from 'node:timers/promises';
import { unlessAborted } from '../async/abort.ts';
import { makeLatch } from '../async/latch.ts';
import { runWhenSet } from '../async/run-when-set.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import type { HostFacts } from '../core/model/host.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import type { Service, ServiceSpec } from '../core/model/service.ts';
import type { Site } from '../core/model/site.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { share } from '../core/share.ts';
import { makeNodeTrouble, type NodeTrouble } from '../core/status/node-trouble.ts';
import { makePodPlace, type PodPlace } from '../core/traffic/pods.ts';
import { type Excesses, makeBudgets } from '../core/traffic/budgets.ts';
import { isLocal } from '../core/traffic/dataplane.ts';
import { makeTrafficPlanner, usePods } from '../core/traffic/plan.ts';
import { emptyReport, type HostReport } from '../core/traffic/report.ts';
import { isNodesBackend, serviceOfBackend, type TrafficTable } from '../core/traffic/table.ts';
import { isPlannedWith } from '../core/traffic/without-endpoints.ts';
import type { Store } from '../kube/store.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Log } from '../ports/log.ts';
import { makeLedgerWriter } from './ledger-writer.ts';
import type { EndpointsByService } from './service-endpoints.ts';
import { type AddressDecision, makePlanner } from './planner.ts';
import { makeDuplicateEvents, type RecordEvent, recordDecision } from './record-events.ts';
import { concernsPlan, isSameHost, servicesConcerned } from './report-changes.ts';
import { withoutOtherClasses, withoutStale } from './stale-records.ts';
import { withUnrecorded } from './unrecorded.ts';

/** A store, as the controller sees it. */
type ObservedStore<T, K extends string> = Pick<Store<T, K>, 'objects' | 'synced' | 'subscribe'>;

/** The load-balancer host, as the controller sees it: in the same process. */
export type HostLink = {
  publish(table: TrafficTable): void;
  report(): HostReport;
  subscribe(listener: () => void): () => void;
};

/** One tenure of the Lease, as the controller sees it. Both calls may be repeated. */
export type Term = {
  /** False: another host may have changed addresses since the ledger was written. */
  readonly isLedgerCurrent: boolean;
  /** Another host serves the class of which the ledger has records from before `--load-balancer-class` was changed. */
  readonly isFormerClassTaken: boolean;
  /** The ledger holds all that the first plan decided. */
  recorded(): void;
  /** The host has a table of this term. */
  published(): void;
};

/** What is published: the decision, the result of recording it, and the table that the host was given. */
export type Plan = AddressDecision &
  Excesses & {
    readonly table: TrafficTable;
    readonly podPlace: PodPlace;
    readonly nodeTrouble: NodeTrouble;
  };

type Drained<K> = { current(): ReadonlySet<K>; subscribe(listener: () => void): () => void };

export type ControllerDeps = {
  readonly site: Site;
  readonly services: ObservedStore<Service, ServiceKey>;
  readonly nodes: ObservedStore<Node, NodeName>;
  readonly endpoints: EndpointsByService;
  readonly host: HostLink;
  readonly term: Term;
  /** Asked when there is a spec that no plan has seen, and when the host reports other addresses or needs. */
  readonly facts: (signal: AbortSignal) => Promise<HostFacts>;
  readonly ledger: Ledger;
  /** Nodes that an administrator drains. */
  readonly drains: Drained<NodeName>;
  /** Services that an administrator drains. */
  readonly serviceDrains: Drained<ServiceKey>;
  /** Enqueues one Service: it is checked again soon, and the difference is written. Does not wait. */
  readonly enqueue: (service: ServiceKey) => void;
  readonly recordEvent: RecordEvent;
  readonly clock: Clock;
  readonly log: Log;
};

const lookAgainMs = 5_000;

/**
 * Level-based: any change marks the world dirty, and each turn plans for all of it; what cannot have changed is kept.
 *
 *   stores, drains, host report ─► snapshot ─► decision ─► ledger ─► table ─► host.publish
 *                                                                       └───► enqueue (finalizers, status)
 *
 * One turn at a time, and no turn waits for the host: what the host reports enqueues the Services concerned. A turn that
 * fails changes nothing and is repeated after growing waits.
 */
export type Controller = {
  run(signal: AbortSignal): Promise<void>;
  plan(): Plan | undefined;
  /** Why addresses cannot be recorded now; `undefined`: they can. */
  recordingTrouble(): string | undefined;
};

export function makeController(deps: ControllerDeps): Controller {
  const { services, nodes, host, term, clock, log } = deps;
  const touched = new Set<ServiceKey>();
  const wake = makeLatch();
  const decide = makePlanner();
  const planTraffic = makeTrafficPlanner();
  const nodeTroubleOf = makeNodeTrouble();
  const budgets = makeBudgets();
  const podPlaceOf = makePodPlace(deps.site.zone);
  const ledger = makeLedgerWriter(deps);
  const recordDuplicates = makeDuplicateEvents(deps.recordEvent);
  let plan: Plan | undefined;
  /** The ledger holds all that was decided, in earlier terms and in this one. */
  let { isLedgerCurrent } = term;
  /** Services that wait until a program on the host frees a port: no event reports when. */
  const waiting = new Set<ServiceKey>();
  let isLookPending = false;
  let isLookDue = false;
  /** What the host answered last, and what it reported when it was asked. */
  let known: { readonly facts: HostFacts; readonly report: HostReport } | undefined;
  /** Specs that a plan has seen. */
  const planned = new WeakSet<ServiceSpec>();

  const lookAtHost = async (seen: readonly ServiceKey[], signal: AbortSignal): Promise<HostFacts> => {
    const fresh = seen.flatMap((key) => services.objects().get(key)?.spec ?? []).filter((spec) => !planned.has(spec));
    const report = host.report();
    if (known === undefined || !isSameHost(known.report, report) || fresh.length > 0 || isLookDue)
      known = { facts: await deps.facts(signal), report };
    isLookDue = false;
    for (const spec of fresh) planned.add(spec);
    return known.facts;
  };

  const lookAgainLater = (signal: AbortSignal): void => {
    if (waiting.size === 0 || isLookPending) return;
    isLookPending = true;
    void clock.sleep(lookAgainMs, signal).then(
      () => {
        isLookPending = false;
        isLookDue = true;
        wake.set();
      },
      () => undefined, // aborted
    );
  };

  const turn = async (seen: readonly ServiceKey[], signal: AbortSignal): Promise<void> => {
    const before = plan;
    const report = host.report();
    const all = ledger.records();
    const records = term.isFormerClassTaken ? withoutOtherClasses(all, services.objects(), deps.site) : all;
    const facts = await lookAtHost(seen, signal);
    const decision = decide({
      site: deps.site,
      services: services.objects(),
      nodes: nodes.objects(),
      records: isLedgerCurrent ? records : withoutStale(records, services.objects(), deps.site.ranges),
      host: facts,
    });
    const unrecorded = await ledger.commit(decision.records, signal);
    if (unrecorded.size === 0) {
      isLedgerCurrent = true;
      term.recorded();
    }
    const assignments = withUnrecorded(decision, before, unrecorded);
    const [endpoints, drained] = [deps.endpoints.all(), deps.drains.current()];
    const excesses = budgets({ services: decision.ours, assignments, endpoints });
    const podPlace = podPlaceOf({ routed: report.routed, pool: decision.pool.ofServices, drained }, facts);
    const table = planTraffic({
      services: decision.ours,
      assignments,
      ...excesses,
      onLink: report.onLink,
      nodes: nodes.objects(),
      drained,
      drainedServices: deps.serviceDrains.current(),
      endpoints,
      areEndpointsCurrent: deps.endpoints.areCurrent(),
      podPlace,
    });
    const trouble = share(before?.nodeTrouble, nodeTroubleOf({ nodes: nodes.objects(), table, health: report.health }));
    plan = { ...decision, assignments, ...excesses, table, podPlace, nodeTrouble: trouble };
    host.publish(table);
    term.published();
    recordDecision(before, plan, log, deps.recordEvent);
    recordDuplicates(plan, host.report().duplicates);
    const changed = PersistentMap.changedKeys(
      before?.assignments ?? PersistentMap.empty<ServiceKey, Assignment>(),
      assignments,
    );
    for (const key of changed) {
      if (assignments.get(key)?.waitsForHost === true) waiting.add(key);
      else waiting.delete(key);
    }
    lookAgainLater(signal);
    const isSamePlace = trouble === before?.nodeTrouble && podPlace === before.podPlace;
    const concerned = isSamePlace ? changed : assignments.keys();
    for (const key of new Set([...seen, ...concerned, ...localServices(before?.table, table, report.health)]))
      deps.enqueue(key);
  };

  /** The table depends on which endpoints it has, or, now, on which of its ports have some. */
  const usesEndpoints = (service: Service): boolean => {
    const { key, spec } = service;
    if (isLocal(spec) || usePods(spec)) return true;
    const assignment = plan?.assignments.get(key);
    // Without one the next turn plans all of it.
    return (
      plan !== undefined &&
      assignment !== undefined &&
      !isPlannedWith(plan.table, service, assignment, deps.endpoints.all()?.get(key))
    );
  };

  let lastHealth: HostReport['health'] | undefined;
  /** Services with nodes of their own whose status may differ: their nodes changed, or what is known of them. */
  const localServices = (
    before: TrafficTable | undefined,
    table: TrafficTable,
    health: HostReport['health'],
  ): readonly ServiceKey[] => {
    const isSame = before?.nodes === table.nodes && health === lastHealth;
    lastHealth = health;
    const ids = isSame ? PersistentMap.changedKeys(before.backends, table.backends) : [...table.backends.keys()];
    return ids.filter((id) => !isNodesBackend(id)).map(serviceOfBackend);
  };

  /** A turn for all Services that changed since the last turn that succeeded. */
  const takeTurn = async (signal: AbortSignal): Promise<void> => {
    await setImmediate(); // what has arrived in the same read of the socket belongs to the same turn
    const seen = [...touched];
    touched.clear();
    try {
      await turn(seen, signal);
    } catch (error) {
      for (const key of seen) touched.add(key);
      throw error;
    }
  };

  /** A report enqueues the Services that it concerns, and wakes the controller if the plan may differ. */
  const followHost = (): (() => void) => {
    let last = emptyReport;
    const follow = (): void => {
      const [before, report] = [last, host.report()];
      last = report;
      for (const key of servicesConcerned(before, report, plan?.table)) deps.enqueue(key);
      if (concernsPlan(before, report)) wake.set();
    };
    follow();
    return host.subscribe(follow);
  };

  return {
    run: async (signal) => {
      await unlessAborted(Promise.all([services.synced, nodes.synced]), signal);
      await ledger.load();
      const stop = [
        services.subscribe((keys) => {
          for (const key of keys) touched.add(key);
          wake.set();
        }),
        nodes.subscribe(() => wake.set()),
        deps.endpoints.subscribe((keys) => {
          const concerned = [...keys].flatMap((key) => services.objects().get(key) ?? []).filter(usesEndpoints);
          for (const { key } of concerned) touched.add(key);
          if (concerned.length > 0) wake.set();
        }),
        deps.endpoints.onCurrent(() => wake.set()),
        deps.drains.subscribe(() => wake.set()),
        deps.serviceDrains.subscribe(() => wake.set()),
        ledger.subscribe(() => wake.set()),
        followHost(),
      ];
      try {
        for (const key of services.objects().keys()) touched.add(key);
        wake.set();
        void deps.endpoints.known.then(() => wake.set());
        await runWhenSet({
          what: 'deciding which Service gets which address',
          due: wake,
          work: () => takeTurn(signal),
          retry: waitLimits.usual,
          clock,
          log,
          level: 'error',
          signal,
        });
      } finally {
        for (const unsubscribe of stop) unsubscribe();
      }
    },
    plan: () => plan,
    recordingTrouble: () => ledger.trouble(),
  };
}

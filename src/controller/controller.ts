import { setImmediate } from 'node:timers/promises';
import { unlessAborted } from '../async/abort.ts';
import { makeLatch } from '../async/latch.ts';
import type { AddressRecord, Assignment } from '../core/addresses/assignment.ts';
import type { NodeName, ServiceKey, ServiceUid } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import type { Service, ServiceSpec } from '../core/model/service.ts';
import type { Site } from '../core/model/site.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Verdict } from '../core/reasons.ts';
import type { Row, TrafficTable } from '../core/traffic/table.ts';
import type { HostFacts } from '../core/model/host.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { RecordFile } from '../state/records.ts';
import { makePlanner, type Plan } from './snapshot.ts';
import { type Tell, tellPlan } from './tell.ts';

/** A store, as the controller sees it. */
export type Observed<K extends string, T> = {
  objects(): PersistentMap<K, T>;
  readonly synced: Promise<void>;
  subscribe(listener: (changedKeys: ReadonlySet<K>) => void): () => void;
};

/** The load-balancer host, as the controller sees it: today in the same process, later on the other end of a watch. */
export type HostLink = {
  submit(table: TrafficTable, signal: AbortSignal): Promise<ReadonlySet<ServiceKey>>;
  /** `ready` when just this row is in force, else why not; `undefined`: not answered yet. */
  answerTo(row: Row): 'ready' | Verdict | undefined;
  /** The last table that was acknowledged as a whole. */
  inForce(): TrafficTable;
  /** That, and all that was tried since: what may be in force. */
  mayHold(): TrafficTable;
};

export type ControllerDeps = {
  readonly site: Site;
  readonly services: Observed<ServiceKey, Service>;
  readonly nodes: Observed<NodeName, Node>;
  readonly host: HostLink;
  /** Asked when there is a spec that no plan has seen. */
  readonly facts: (signal: AbortSignal) => Promise<HostFacts>;
  readonly records: RecordFile;
  /** Looks at one Service again and writes what differs; soon, not now. */
  readonly enqueue: (service: ServiceKey) => void;
  /** An event on a Service. */
  readonly tell: Tell;
  readonly clock: Clock;
  readonly log: Log;
};

const lookAgainMs = 5_000;
const retryFirstMs = 100;
const retryMostMs = 10_000;

/**
 * Level-based: any change marks the world dirty, and each turn plans for all of it; what cannot have changed is kept.
 *
 *   stores, the host  ─► snapshot ─► planSnapshot ─► records on disk ─► host.submit ─► enqueue (finalizers, status)
 *         ▲                                                                                    │
 *         └────────────────────────────── answers of the writes ───────────────────────────────┘
 *
 * One turn at a time: the first change is planned at once, those that come while it is put in force are in the next. A
 * turn that fails (the disk is full, the host gives no answer) changes nothing, and is tried again.
 */
export type Controller = {
  run(signal: AbortSignal): Promise<void>;
  /** Nodes that an administrator drains. */
  setDrained(nodes: ReadonlySet<NodeName>): void;
  plan(): Plan | undefined;
};

export function makeController(deps: ControllerDeps): Controller {
  const { services, nodes, host, enqueue } = deps;
  const touched = new Set<ServiceKey>();
  const wake = makeLatch();
  const planSnapshot = makePlanner();
  let records = PersistentMap.empty<ServiceUid, AddressRecord>();
  let drained: ReadonlySet<NodeName> = new Set();
  let plan: Plan | undefined;
  /** The last one that was recorded, and that the host was given. */
  let completed: Plan | undefined;
  /** Services that wait for a program on the host to let a port go. */
  const blocked = new Set<ServiceKey>();
  let isLookPending = false;
  let facts: HostFacts = { ownAddresses: [], listening: [] };
  /** Specs that a plan has seen: the host is looked at again only when there is another one. */
  const planned = new WeakSet<ServiceSpec>();

  const lookAtHost = async (seen: readonly ServiceKey[], signal: AbortSignal): Promise<void> => {
    const news = seen.flatMap((key) => services.objects().get(key)?.spec ?? []).filter((spec) => !planned.has(spec));
    if (news.length > 0 || blocked.size > 0) facts = await deps.facts(signal);
    for (const spec of news) planned.add(spec);
  };

  /** Some Service waits for a program on the host to let its port go: nobody tells us, so we look now and then. */
  const lookAgainLater = (signal: AbortSignal): void => {
    if (blocked.size === 0 || isLookPending) return;
    isLookPending = true;
    void deps.clock.sleep(lookAgainMs, signal).then(
      () => {
        isLookPending = false;
        wake.set();
      },
      () => undefined, // ended
    );
  };

  const turn = async (seen: readonly ServiceKey[], signal: AbortSignal): Promise<void> => {
    await lookAtHost(seen, signal);
    const before = completed;
    const mayHold = host.mayHold();
    const next = planSnapshot({
      site: deps.site,
      services: services.objects(),
      nodes: nodes.objects(),
      drained,
      records,
      host: facts,
      mayHold,
    });
    plan = next;
    // Finalizers are asked for while the rest is done; what depends on the host's answer is looked at again after it.
    for (const key of seen) enqueue(key);
    if (PersistentMap.changedKeys(records, next.records).length > 0) {
      await deps.records.write(next.records);
      records = next.records;
    }
    tellPlan(before, next, deps.log, deps.tell);
    const reassigned = PersistentMap.changedKeys(
      before?.assignments ?? PersistentMap.empty<ServiceKey, Assignment>(),
      next.assignments,
    );
    for (const key of reassigned) {
      if (next.assignments.get(key)?.waitsForHost === true) blocked.add(key);
      else blocked.delete(key);
    }
    lookAgainLater(signal);
    const answered = await host.submit(next.table, signal);
    completed = next;
    const concerned = hasNodesAsBefore(before?.table.nodes, next.table.nodes) ? reassigned : next.assignments.keys();
    for (const key of new Set([...answered, ...concerned])) enqueue(key);
    const isListenerFree = next.lingering.size > 0 && host.mayHold() !== mayHold;
    if (isListenerFree) wake.set(); // somebody may be waiting for it
  };

  /** A turn, until one succeeds. */
  const takeTurn = async (signal: AbortSignal): Promise<void> => {
    for (let waitMs = retryFirstMs; ; waitMs = Math.min(waitMs * 2, retryMostMs)) {
      const seen = [...touched];
      touched.clear();
      try {
        return await turn(seen, signal);
      } catch (error) {
        signal.throwIfAborted();
        for (const key of seen) touched.add(key);
        deps.log.error(
          { err: error, retryInMs: waitMs },
          'could not decide, or record, who gets which address; what is in force stays so',
        );
        await deps.clock.sleep(waitMs, signal);
      }
    }
  };

  return {
    run: async (signal) => {
      await unlessAborted(Promise.all([services.synced, nodes.synced]), signal);
      records = await deps.records.read();
      const stop = [services, nodes].map((store) =>
        store.subscribe((keys) => {
          if (store === services) for (const key of keys) touched.add(key as ServiceKey);
          wake.set();
        }),
      );
      try {
        for (const key of services.objects().keys()) touched.add(key);
        for (;;) {
          await takeTurn(signal);
          await wake.wait(signal);
          await setImmediate(); // what has arrived in the same read of the socket belongs to the same turn
        }
      } finally {
        for (const unsubscribe of stop) unsubscribe();
      }
    },
    setDrained: (names) => {
      drained = names;
      wake.set();
    },
    plan: () => plan,
  };
}

/** False when nodes appeared for all Services of a family, or the last one vanished. */
function hasNodesAsBefore(before: TrafficTable['nodes'] | undefined, after: TrafficTable['nodes']): boolean {
  return ([4, 6] as const).every((family) => (before?.[family].length === 0) === (after[family].length === 0));
}

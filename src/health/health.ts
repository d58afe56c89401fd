import { restOfPeriod } from '../async/rest-of-period.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import { families, type Family, type Ip } from '../core/ip/ip.ts';
import { kubeProxyHealthPort } from '../core/model/contract.ts';
import type { NodeName } from '../core/model/names.ts';
import type { HostReport, NodeHealth } from '../core/traffic/report.ts';
import { addressOfNode, type TrafficTable } from '../core/traffic/table.ts';
import type { Clock } from '../ports/clock.ts';
import type { CheckedNode, FamilyHealth, FamilyHealths, Health, NodeChecks, NodeFindings } from '../ports/health.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import { type DetailedHealth, detailedHealth, healthOf, healthWords } from './detailed-health.ts';
import { type CheckRound, checksFrom, type HealthState, initialHealth, judge } from './policy.ts';
import type { Probe } from './probe.ts';

/** The health of all nodes: HAProxy reports to it, and every dataplane follows it. */
export type HealthModule = Health & NodeChecks & { readonly families: FamilyHealths };

/**
 * One verdict per node and family, from two sources: the dataplane's checks of kube-proxy's health port, and furiwake's
 * own probe, which replaces them if no node is healthy by that port, and while the dataplane reports no results: when HAProxy is
 * dead, hangs or cannot be started, the other dataplanes still need the verdicts.
 *
 * `silenceMs`: how long a node may be silent before its connections are reset. New ones stop after two failed checks.
 */
export function makeHealth(deps: {
  readonly probe: Probe;
  readonly silenceMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}): HealthModule {
  let verdicts: HostReport['health'] = new Map();
  const subscribers = makeSubscribers();
  const changed = (): void => {
    const next = new Map<NodeName, { 4?: NodeHealth; 6?: NodeHealth }>();
    for (const family of families)
      for (const [node, state] of trackers[family].states()) next.set(node, { ...next.get(node), [family]: state });
    verdicts = next;
    subscribers.tell();
  };
  const trackers = {
    4: makeFamilyHealth({ ...deps, family: 4, onChange: changed }),
    6: makeFamilyHealth({ ...deps, family: 6, onChange: changed }),
  };
  return {
    families: trackers,
    verdicts: () => verdicts,
    subscribe: subscribers.subscribe,
    run: async (known, signal) => {
      for (let waitMs = roundMs; ;) {
        await deps.clock.sleep(waitMs, signal);
        const startMs = deps.clock.monotonic();
        const nodes = known() ?? new Map();
        await Promise.all(families.map((family) => trackers[family].replaceRound(nodes, signal)));
        const missingInMs = Math.min(...families.map((family) => trackers[family].missingInMs()));
        const restMs = restOfPeriod(roundMs, deps.clock.monotonic() - startMs);
        waitMs = nodes.size === 0 ? restMs : Math.max(missingInMs, restMs); // after the first node HAProxy has as long as after a report
      }
    },
  };
}

const roundMs = 1000;
/** The dataplane reports each second, if it can. */
const missingMs = 3 * roundMs;
/** Nodes that a survey asks first. */
const sampleSize = 20;

/** Monotonic ms, of the last change of its health and of the begin of its drain; `undefined`: not since the start. */
type KnownNode = {
  readonly detail: DetailedHealth;
  /** Since when its health is known to be this. */
  readonly seenMs: number;
  readonly sinceMs: number | undefined;
  readonly isDraining: boolean;
  readonly drainSinceMs: number | undefined;
};

const unknownNode: KnownNode = {
  detail: 'up',
  seenMs: 0,
  sinceMs: undefined,
  isDraining: false,
  drainSinceMs: undefined,
};

type FamilyTracker = FamilyHealth & {
  /** Without the nodes that have no verdict yet. */
  states(): ReadonlyMap<NodeName, NodeHealth>;
  /** When the results of the dataplane are missing unless it reports before; not positive: they are. */
  missingInMs(): number;
  /** One round with the results of the own probe, if those of the dataplane are missing. */
  replaceRound(nodes: TrafficTable['nodes'], signal: AbortSignal): Promise<void>;
};

function makeFamilyHealth(deps: {
  readonly family: Family;
  readonly probe: Probe;
  readonly silenceMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly onChange: () => void;
}): FamilyTracker {
  const { family, probe, clock, log } = deps;
  const gauge = deps.metrics.gauge(
    'furiwake_own_probe',
    "1 while no node that may take connections is healthy by kube-proxy's health port and furiwake's own probe decides",
    ['family'],
  );
  const labels = { family: String(family) };
  gauge.set(0, labels);
  const resets = deps.metrics.counter(
    'furiwake_silent_nodes_total',
    'Nodes, once per family, whose connections were ended because they were silent for too long',
  );
  let state: HealthState = initialHealth;
  let isSurveyed = false;
  const ordered = new Map<NodeName, boolean>();
  let known: ReadonlyMap<NodeName, KnownNode> = new Map();
  /** What was said of nodes that are still silent. */
  let dead: { readonly node: NodeName; readonly effect: string }[] = [];
  let checks: ReadonlyMap<NodeName, CheckedNode> = new Map();
  let roundAtMs = clock.monotonic();
  const missingInMs = (): number => roundAtMs + missingMs - clock.monotonic();
  const isMissing = (): boolean => missingInMs() <= 0;

  const become = (next: HealthState): void => {
    if (next.mode !== state.mode) {
      gauge.set(next.mode === 'own' ? 1 : 0, labels);
      if (next.mode === 'own')
        log.warn(
          { family, port: kubeProxyHealthPort },
          "no node that takes connections passes the check of kube-proxy's health port: furiwake's own probe decides, and takes only silent nodes out",
        );
      else
        log.info(
          { family, port: kubeProxyHealthPort },
          "nodes pass the check of kube-proxy's health port again: it decides, and nodes that fail it get no traffic",
        );
    }
    state = next;
  };

  const take = (finding: CheckRound): ReturnType<typeof judge> => {
    const judgement = judge(state, finding, { atMs: clock.monotonic(), silenceMs: deps.silenceMs });
    become(judgement.state);
    return judgement;
  };

  const probeNodes = async (
    nodes: ReadonlyMap<NodeName, Ip>,
    leaving: ReadonlySet<NodeName>,
    signal: AbortSignal,
  ): Promise<CheckRound> => ({ from: 'probe', answers: await probe(nodes, signal), leaving });

  /** One healthy node decides, so the others are asked only if none of a few is healthy. */
  const surveyNodes: typeof probeNodes = async (nodes, leaving, signal) => {
    const sample = new Map([...nodes].slice(0, sampleSize));
    const found = await probe(sample, signal);
    const isHealthy = Array.from(found).some(([node, answer]) => answer === 'ok' && !leaving.has(node));
    const others = isHealthy ? [] : [...nodes].slice(sampleSize);
    const rest = others.length === 0 ? [] : await probe(new Map(others), signal);
    return { from: 'probe', answers: new Map([...found, ...rest]), leaving };
  };

  const note = (nodes: Iterable<NodeName>, draining: ReadonlySet<NodeName>): void => {
    const nowMs = clock.monotonic();
    const next = new Map<NodeName, KnownNode>();
    let isChanged = false;
    for (const node of nodes) {
      const before = known.get(node);
      const last = before?.detail ?? (known.size === 0 ? 'up' : 'unchecked');
      const detail = detailedHealth(state, node, checks.get(node), last);
      const isJoining = last === 'unchecked' && (detail === 'up' || detail === 'unchecked');
      const isDraining = draining.has(node);
      const isSameState = before !== undefined && healthOf[before.detail] === healthOf[detail];
      isChanged ||= !isSameState;
      next.set(node, {
        detail,
        seenMs: isSameState ? before.seenMs : nowMs,
        sinceMs: isSameState ? before.sinceMs : known.size === 0 || isJoining ? undefined : nowMs,
        isDraining,
        drainSinceMs: before?.isDraining === isDraining ? before.drainSinceMs : before && nowMs,
      });
      if (before?.detail === detail || detail === 'unchecked') continue;
      if (detail !== 'up') log.warn({ node, family, since: new Date(clock.now()).toISOString() }, healthWords[detail]);
      else if (before !== undefined && before.detail !== 'unchecked')
        log.info({ node, family, ...secondsSince(before, nowMs) }, healthWords.up);
    }
    isChanged ||= next.size !== known.size;
    known = next;
    if (isChanged) deps.onChange();
  };

  /** The verdicts after the results in `checks`, or after those of the own probe, if it decides. */
  const conclude = async (
    { nodes, draining, gone }: Omit<NodeFindings, 'checks'>,
    probed: (leaving: ReadonlySet<NodeName>) => Promise<CheckRound>,
  ): Promise<readonly NodeName[]> => {
    const leaving = new Set([...draining, ...gone.keys()]);
    let judgement = state.mode === 'checks' ? take({ from: 'checks', checks, leaving }) : undefined;
    if (state.mode === 'own' || judgement?.wantsProbe === true) judgement = take(await probed(leaving));
    if (state.mode === 'own') checks = new Map();
    note(nodes.keys(), draining);
    return judgement?.dead ?? [];
  };

  /** `effect`: what ends for a node that has been silent for too long. Each effect is said once in a silence. */
  const noteDead = (nodes: readonly NodeName[], effect: string): void => {
    dead = dead.filter(({ node }) => (state.nodes.get(node)?.silent ?? 0) > 0);
    for (const node of nodes) {
      const said = dead.filter((each) => each.node === node);
      if (said.some((each) => each.effect === effect)) continue;
      if (said.length === 0) resets.add(1);
      log.warn({ node, family }, `node silent for ${deps.silenceMs / 1000} s: ${effect}`);
      dead.push({ node, effect });
    }
  };

  return {
    states: () =>
      new Map(
        [...known].flatMap(([node, { detail }]) => {
          const health = healthOf[detail];
          return health === undefined ? [] : [[node, health] as const];
        }),
      ),
    isChecked: () => state.mode === 'checks',
    survey: async ({ nodes, draining }, signal) => {
      if (nodes.size > 0 && !isSurveyed && state.mode === 'checks') {
        take(await surveyNodes(nodes, draining, signal));
        roundAtMs = clock.monotonic(); // the dataplane, which begins now, has its time to report
      }
      isSurveyed = nodes.size > 0;
    },
    adopt: (isChecked) => {
      isSurveyed = true;
      if (isChecked !== (state.mode === 'checks')) become({ ...initialHealth, mode: isChecked ? 'checks' : 'own' });
    },
    forgetOrders: () => ordered.clear(),
    round: async (found, signal) => {
      roundAtMs = clock.monotonic();
      ({ checks } = found);
      // Also those of removed nodes: their last connections must not outlive them.
      const all = new Map([...found.gone, ...found.nodes]);
      const ending = await conclude(found, async (leaving) => probeNodes(all, leaving, signal));
      noteDead(ending, 'its connections were ended');
      const out = new Map<NodeName, boolean>();
      if (state.mode === 'checks') ordered.clear();
      else for (const [node, { isOut }] of state.nodes) if (ordered.get(node) !== isOut) out.set(node, isOut);
      for (const [node, isOut] of out) ordered.set(node, isOut);
      const silent = new Set(Array.from(known).flatMap(([node, { detail }]) => (detail === 'silent' ? node : [])));
      return { dead: ending, silent, out };
    },
    missingInMs,
    replaceRound: async (nodes, signal) => {
      if (nodes.size + known.size === 0) roundAtMs = clock.monotonic(); // there is nothing to report
      if (!isMissing()) return;
      const addresses = new Map<NodeName, Ip>();
      const draining = new Set<NodeName>();
      for (const node of nodes.values()) {
        const address = addressOfNode(node, family);
        if (address !== undefined) addresses.set(node.name, address);
        if (node.state === 'drain') draining.add(node.name);
      }
      const answers = await probe(addresses, signal);
      if (!isMissing()) return;
      checks = checksFrom(answers, checks);
      const round = { nodes: addresses, draining, gone: new Map<NodeName, Ip>() };
      const ending = await conclude(round, async (leaving) => ({ from: 'probe', answers, leaving }));
      noteDead(ending, 'nat and direct end its connections'); // HAProxy does so when it answers again
    },
    stateOf: (node) => {
      const { detail, sinceMs, isDraining, drainSinceMs } = known.get(node) ?? unknownNode;
      return { state: healthOf[detail] ?? 'up', sinceMs, drainSinceMs: isDraining ? drainSinceMs : undefined };
    },
    silentSince: (node) => {
      const { detail, seenMs } = known.get(node) ?? unknownNode;
      return healthOf[detail] === 'silent' ? seenMs : undefined;
    },
  };
}

function secondsSince({ sinceMs }: KnownNode, nowMs: number): { readonly seconds?: number } {
  return sinceMs === undefined ? {} : { seconds: Math.round((nowMs - sinceMs) / 1000) };
}

import type { Family, Ip } from '../core/ip/ip.ts';
import { kubeProxyHealthPort } from '../core/model/contract.ts';
import type { NodeName } from '../core/model/names.ts';
import type { HostReport, NodeHealth } from '../core/traffic/report.ts';
import type { Clock } from '../ports/clock.ts';
import type { CheckedNode, FamilyHealth, Health } from '../ports/health.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import { type Finding, type HealthState, initialHealth, judge } from './policy.ts';
import { type Probe, probeAll } from './probe.ts';

/** The health of all nodes: what data planes report to it, and what they follow. */
export type HealthModule = Health & { readonly families: { readonly [F in Family]: FamilyHealth } };

/**
 * One verdict per node and family, from two sources: the data plane's checks of kube-proxy's health port, and furiwake's
 * own probe, which stands in where no node answers that port.
 *
 * `silenceMs`: how long a node may be silent before its connections are ended. New ones stop after two failed checks.
 */
export function makeHealth(deps: {
  readonly probe: Probe;
  readonly silenceMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}): HealthModule {
  let verdicts: HostReport['health'] = new Map();
  const subscribers = new Set<() => void>();
  const changed = (): void => {
    const next = new Map<NodeName, { 4?: NodeHealth; 6?: NodeHealth }>();
    for (const family of [4, 6] as const)
      for (const [node, state] of trackers[family].states()) next.set(node, { ...next.get(node), [family]: state });
    verdicts = next;
    for (const tell of subscribers) tell();
  };
  const trackers = {
    4: makeFamilyHealth({ ...deps, family: 4, onChange: changed }),
    6: makeFamilyHealth({ ...deps, family: 6, onChange: changed }),
  };
  return {
    families: trackers,
    verdicts: () => verdicts,
    subscribe: (listener) => {
      subscribers.add(listener);
      return () => void subscribers.delete(listener);
    },
  };
}

const words: Readonly<Record<NodeHealth, string>> = {
  up: 'node answers again',
  unhealthy: 'node answers that it takes no traffic: no new connections',
  silent: 'node does not answer: no new connections',
};

function makeFamilyHealth(deps: {
  readonly family: Family;
  readonly probe: Probe;
  readonly silenceMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly onChange: () => void;
}): FamilyHealth & { states(): ReadonlyMap<NodeName, NodeHealth> } {
  const { family, probe, clock, log } = deps;
  const gauge = deps.metrics.gauge(
    'furiwake_own_probe',
    "1 while no node answers kube-proxy's health port and furiwake's own probe stands in",
    ['family'],
  );
  const labels = { family: String(family) };
  gauge.set(0, labels);
  const deadAfter = Math.ceil(deps.silenceMs / 1000);
  let state: HealthState = initialHealth;
  let isSurveyed = false;
  const ordered = new Map<NodeName, boolean>();
  let known: ReadonlyMap<NodeName, { readonly state: NodeHealth; readonly sinceMs: number | undefined }> = new Map();

  const become = (next: HealthState): void => {
    if (next.mode !== state.mode) {
      gauge.set(next.mode === 'own' ? 1 : 0, labels);
      if (next.mode === 'own')
        log.warn(
          { family, port: kubeProxyHealthPort },
          "no node answers kube-proxy's health port: furiwake's own probe decides, and takes only silent nodes out",
        );
      else
        log.info(
          { family, port: kubeProxyHealthPort },
          "nodes answer kube-proxy's health port again: its answers decide, and nodes that do not answer get no traffic",
        );
    }
    state = next;
  };

  const take = (finding: Finding): ReturnType<typeof judge> => {
    const judgement = judge(state, finding, deadAfter);
    become(judgement.state);
    return judgement;
  };

  const probeNodes = async (
    nodes: ReadonlyMap<NodeName, Ip>,
    gone: ReadonlyMap<NodeName, Ip>,
    signal: AbortSignal,
  ): Promise<Finding> => {
    const answers = [...(await probeAll(probe, new Map([...gone, ...nodes]), signal))];
    return {
      from: 'probe',
      answers: new Map(answers.filter(([node]) => !gone.has(node))),
      gone: new Map(answers.filter(([node]) => gone.has(node))),
    };
  };

  const stateFor = (node: NodeName, check: CheckedNode | undefined): NodeHealth => {
    const health = state.nodes.get(node);
    if (state.mode === 'own') return health !== undefined && health.silent >= 2 ? 'silent' : 'up';
    if (check === undefined || check.isUp) return 'up';
    return (check.answer ?? health?.answer) === 'silent' ? 'silent' : 'unhealthy';
  };

  const noteStates = (nodes: Iterable<NodeName>, checks: ReadonlyMap<NodeName, CheckedNode>): void => {
    const nowMs = clock.now();
    let isChanged = false;
    const next = new Map<NodeName, { readonly state: NodeHealth; readonly sinceMs: number | undefined }>();
    for (const node of nodes) {
      const before = known.get(node);
      const now = stateFor(node, checks.get(node));
      if (before?.state === now) next.set(node, before);
      else {
        isChanged = true;
        next.set(node, { state: now, sinceMs: before === undefined ? undefined : nowMs });
        if (before !== undefined || now !== 'up') log[now === 'up' ? 'info' : 'warn']({ node, family }, words[now]);
      }
    }
    if (next.size !== known.size) isChanged = true;
    known = next;
    if (isChanged) deps.onChange();
  };

  return {
    states: () => new Map(Array.from(known, ([node, entry]) => [node, entry.state])),
    isChecked: () => state.mode === 'checks',
    survey: async (nodes, signal) => {
      if (nodes.size > 0 && !isSurveyed && state.mode === 'checks') take(await probeNodes(nodes, new Map(), signal));
      isSurveyed = nodes.size > 0;
    },
    adopt: (isChecked) => {
      isSurveyed = true;
      if (isChecked !== (state.mode === 'checks')) become({ ...initialHealth, mode: isChecked ? 'checks' : 'own' });
    },
    forgetOrders: () => ordered.clear(),
    round: async ({ nodes, gone, checks }, signal) => {
      // Also of nodes that are no longer wanted: their last connections must not outlive them.
      let judgement = state.mode === 'checks' ? take({ from: 'checks', checks }) : undefined;
      if (state.mode === 'own' || judgement?.wantsProbe === true)
        judgement = take(await probeNodes(nodes, gone, signal));
      const out = new Map<NodeName, boolean>();
      if (state.mode === 'checks') ordered.clear();
      else for (const [node, { isOut }] of state.nodes) if (ordered.get(node) !== isOut) out.set(node, isOut);
      for (const [node, isOut] of out) ordered.set(node, isOut);
      noteStates(nodes.keys(), checks);
      return { dead: judgement?.dead ?? [], out };
    },
    stateOf: (node) => known.get(node) ?? { state: 'up', sinceMs: undefined },
  };
}

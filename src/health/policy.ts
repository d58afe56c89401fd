import { assertNever } from '../core/assert-never.ts';
import type { NodeName } from '../core/model/names.ts';
import type { CheckAnswer, CheckedNode } from '../ports/health.ts';

/*
 * Who decides which nodes of one family get connections, as a pure state machine.
 *
 *              no node gives an HTTP answer, neither to HAProxy's checks nor to our own probe
 *            ┌───────────────────────────────────────────────────────────────────────────────►┐
 *       checks: HAProxy's checks decide                          own: our probe decides; HAProxy's checks are off
 *            └◄───────────────────────────────────────────────────────────────────────────────┘
 *              some node gives an HTTP answer to our probe, ten rounds in a row
 *
 * A check that fails everywhere is a wrong check (k3s binds kube-proxy's health port to localhost), not a dead
 * cluster, hence the second mode. It is entered at once, for HAProxy has just taken or will just take every node out,
 * and left slowly, so that a port that comes and goes does not make it flap.
 */

/** What furiwake's own probe found. */
export type ProbeAnswer = 'http' | 'alive' | 'silent';

/** `silent`: rounds in a row without any answer. */
type NodeHealth = { readonly isOut: boolean; readonly silent: number; readonly answer: CheckAnswer | undefined };

export type HealthState = {
  readonly mode: 'checks' | 'own';
  readonly nodes: ReadonlyMap<NodeName, NodeHealth>;
  /** Rounds in a row in which our probe got an HTTP answer from some node. */
  readonly httpRounds: number;
};

export type Finding =
  | { readonly from: 'checks'; readonly checks: ReadonlyMap<NodeName, CheckedNode> }
  /** `gone`: nodes that are no longer wanted and still have connections. They say nothing about the others. */
  | {
      readonly from: 'probe';
      readonly answers: ReadonlyMap<NodeName, ProbeAnswer>;
      readonly gone: ReadonlyMap<NodeName, ProbeAnswer>;
    };

export type Judgement = {
  readonly state: HealthState;
  /** Nothing answers HAProxy's checks: probe all nodes, now, and hand in what that finds. */
  readonly wantsProbe: boolean;
  /** Nodes that have been silent for too long: their connections must be ended, for HAProxy does not. */
  readonly dead: readonly NodeName[];
};

export const initialHealth: HealthState = { mode: 'checks', nodes: new Map(), httpRounds: 0 };

/** New connections stop after so many silent probes; HAProxy's checks (`fall 2`) decide alike. */
export const silentProbes = 2;
const httpRoundsBack = 10;

/**
 * The next state. A family without nodes keeps its mode. `deadAfter`: rounds of silence, a second each, after which a
 * node's connections are ended.
 */
export function judge(state: HealthState, finding: Finding, deadAfter: number): Judgement {
  switch (finding.from) {
    case 'checks':
      return state.mode === 'checks' ? judgeChecks(state, finding.checks, deadAfter) : unchanged(state);
    case 'probe':
      return state.mode === 'checks'
        ? judgeFirstProbe(state, finding.answers)
        : judgeProbe(state, finding.answers, finding.gone, deadAfter);
    default:
      return assertNever(finding);
  }
}

function judgeChecks(state: HealthState, checks: ReadonlyMap<NodeName, CheckedNode>, deadAfter: number): Judgement {
  const nodes = new Map<NodeName, NodeHealth>();
  for (const [name, check] of checks) {
    const before = state.nodes.get(name);
    const answer = check.answer ?? before?.answer; // what is not known now is as it was
    const silent = answer === 'silent' ? (before?.silent ?? 0) + 1 : 0;
    nodes.set(name, { isOut: !check.isUp, silent, answer });
  }
  const all = [...nodes];
  const someHttp = all.some(([, { answer }]) => answer === 'ok' || answer === 'unhealthy');
  const someOther = all.some(([, { answer }]) => answer === 'alive' || answer === 'silent');
  // With no HTTP answer anywhere silence says nothing about a single node.
  const dead = someHttp ? all.filter(([, node]) => node.isOut && node.silent >= deadAfter) : [];
  return {
    state: { ...state, nodes },
    wantsProbe: someOther && !someHttp,
    dead: dead.map(([name]) => name),
  };
}

function judgeFirstProbe(state: HealthState, answers: ReadonlyMap<NodeName, ProbeAnswer>): Judgement {
  if (answers.size === 0 || [...answers.values()].includes('http')) return unchanged(state);
  const nodes = new Map<NodeName, NodeHealth>();
  for (const [name, answer] of answers)
    nodes.set(name, { isOut: false, silent: answer === 'silent' ? 1 : 0, answer: undefined });
  return { state: { mode: 'own', nodes, httpRounds: 0 }, wantsProbe: false, dead: [] };
}

function judgeProbe(
  state: HealthState,
  answers: ReadonlyMap<NodeName, ProbeAnswer>,
  gone: ReadonlyMap<NodeName, ProbeAnswer>,
  deadAfter: number,
): Judgement {
  const found = [...answers];
  const httpRounds = found.some(([, answer]) => answer === 'http') ? state.httpRounds + 1 : 0;
  if (httpRounds >= httpRoundsBack) return unchanged({ mode: 'checks', nodes: new Map(), httpRounds: 0 });
  // The last nodes that we believe alive are never taken out: then it is rather our own network that is gone.
  const someAlive = found.some(([, answer]) => answer !== 'silent');
  const nodes = new Map<NodeName, NodeHealth>();
  const dead: NodeName[] = [];
  for (const [name, answer] of [...found, ...gone]) {
    const before = state.nodes.get(name);
    const silent = answer === 'silent' ? (before?.silent ?? 0) + 1 : 0;
    const isOut = silent >= silentProbes && (before?.isOut === true || someAlive);
    nodes.set(name, { isOut, silent, answer: undefined });
    if (isOut && silent >= deadAfter) dead.push(name);
  }
  return { state: { mode: 'own', nodes, httpRounds }, wantsProbe: false, dead };
}

function unchanged(state: HealthState): Judgement {
  return { state, wantsProbe: false, dead: [] };
}

import { assertNever } from '../core/assert-never.ts';
import type { NodeName } from '../core/model/names.ts';
import type { CheckAnswer, CheckedNode } from '../ports/health.ts';

/*
 * Decides which nodes of one family get connections, as a pure state machine.
 *
 *              no staying node is healthy, neither by HAProxy's checks nor by our own probe
 *            ┌───────────────────────────────────────────────────────────────────────────────►┐
 *       checks: HAProxy's checks decide                          own: our probe decides; HAProxy's checks are off
 *            └◄───────────────────────────────────────────────────────────────────────────────┘
 *              some staying node is healthy by our probe, ten rounds in a row
 *
 * A node that is drained or removed is leaving: it takes no connections, so its health keeps no other node out of use.
 *
 * A check that fails on every node is a wrong check (k3s binds kube-proxy's health port to localhost), not a dead
 * cluster, and a kube-proxy that answers 503 everywhere still has its rules in the kernel; hence the second mode. furiwake
 * enters it at once, because HAProxy takes every node out at that moment, and leaves it slowly, so that a flapping port does
 * not make the mode flap.
 */

/** `silent`: rounds in a row without any answer. */
type NodeMemory = { readonly isOut: boolean; readonly silent: number; readonly answer: CheckAnswer | undefined };

export type HealthState = {
  readonly mode: 'checks' | 'own';
  readonly nodes: ReadonlyMap<NodeName, NodeMemory>;
  /** Rounds in a row in which the own probe found any staying node healthy. */
  readonly healthyRounds: number;
};

/** What one round of HAProxy's checks or of the own probe found. */
export type CheckRound = (
  | { readonly from: 'checks'; readonly checks: ReadonlyMap<NodeName, CheckedNode> }
  | { readonly from: 'probe'; readonly answers: ReadonlyMap<NodeName, CheckAnswer> }
) & {
  /** Nodes that are drained, or removed and still have connections. */
  readonly leaving: ReadonlySet<NodeName>;
};

export type Judgement = {
  readonly state: HealthState;
  /** No staying node passes HAProxy's checks: probe all nodes now, and pass the results to the next state. */
  readonly wantsProbe: boolean;
  /** Nodes that have been silent for too long: their connections must be reset, because HAProxy does not do that. */
  readonly dead: readonly NodeName[];
};

export const initialHealth: HealthState = { mode: 'checks', nodes: new Map(), healthyRounds: 0 };

/** New connections stop after this many silent probes; HAProxy's checks (`fall 2`) have the same limit. */
export const silentProbes = 2;
const healthyRoundsBack = 10;

/**
 * The next state. A family without nodes keeps its mode. `deadAfter`: rounds of silence, a second each, after which a
 * node's connections are reset.
 */
export function judge(state: HealthState, round: CheckRound, deadAfter: number): Judgement {
  switch (round.from) {
    case 'checks':
      return state.mode === 'checks' ? judgeChecks(state, round, deadAfter) : unchanged(state);
    case 'probe':
      return state.mode === 'checks' ? judgeFirstProbe(state, round) : judgeProbe(state, round, deadAfter);
    default:
      return assertNever(round);
  }
}

type RoundFrom<From extends CheckRound['from']> = Extract<CheckRound, { readonly from: From }>;

function judgeChecks(state: HealthState, { checks, leaving }: RoundFrom<'checks'>, deadAfter: number): Judgement {
  const nodes = new Map<NodeName, NodeMemory>();
  for (const [name, check] of checks) {
    const before = state.nodes.get(name);
    const answer = check.answer ?? before?.answer; // an unknown state is as it was before
    const silent = answer === 'silent' ? (before?.silent ?? 0) + 1 : 0;
    nodes.set(name, { isOut: !check.isUp, silent, answer });
  }
  const all = [...nodes];
  const found = all.flatMap(([name, { answer }]) => (leaving.has(name) || answer === undefined ? [] : [answer]));
  // Without any healthy node the silence of a single node has no meaning.
  const isRight = all.some(([, { answer }]) => answer === 'ok');
  const dead = isRight ? all.filter(([, node]) => node.isOut && node.silent >= deadAfter) : [];
  return {
    state: { ...state, nodes },
    wantsProbe: found.length > 0 && !found.includes('ok'),
    dead: dead.map(([name]) => name),
  };
}

/**
 * The results of furiwake's own checks of all nodes, while those of HAProxy are missing: the same rules, two failures in a row
 * take a node out of use, one success takes it back. `before`: the last results, of either.
 */
export function checksFrom(
  answers: ReadonlyMap<NodeName, CheckAnswer>,
  before: ReadonlyMap<NodeName, CheckedNode>,
): ReadonlyMap<NodeName, CheckedNode> {
  return new Map(
    Array.from(answers, ([name, answer]) => {
      const last = before.get(name) ?? { isUp: true, answer: undefined };
      const isFirstFailure = last.isUp && (last.answer === 'ok' || last.answer === undefined);
      return [name, { isUp: answer === 'ok' || isFirstFailure, answer }];
    }),
  );
}

function judgeFirstProbe(state: HealthState, { answers, leaving }: RoundFrom<'probe'>): Judgement {
  const found = ofStaying(answers, leaving);
  if (found.length === 0 || found.includes('ok')) return unchanged(state);
  const someAlive = found.some((answer) => answer !== 'silent');
  const nodes = new Map<NodeName, NodeMemory>();
  for (const [name, answer] of answers) {
    const before = state.nodes.get(name);
    const silent = answer === 'silent' ? (before?.silent ?? 0) + 1 : 0;
    const isOut = silent >= silentProbes && before?.isOut === true && someAlive;
    nodes.set(name, { isOut, silent, answer: undefined });
  }
  return { state: { mode: 'own', nodes, healthyRounds: 0 }, wantsProbe: false, dead: [] };
}

function judgeProbe(state: HealthState, { answers, leaving }: RoundFrom<'probe'>, deadAfter: number): Judgement {
  const found = ofStaying(answers, leaving);
  const healthyRounds = found.includes('ok') ? state.healthyRounds + 1 : 0;
  if (healthyRounds >= healthyRoundsBack) return unchanged({ mode: 'checks', nodes: new Map(), healthyRounds: 0 });
  // The last living nodes are never taken out: their silence then more likely means that the host's own network failed.
  const someAlive = found.some((answer) => answer !== 'silent');
  const nodes = new Map<NodeName, NodeMemory>();
  const dead: NodeName[] = [];
  for (const [name, answer] of answers) {
    const before = state.nodes.get(name);
    const silent = answer === 'silent' ? (before?.silent ?? 0) + 1 : 0;
    const isOut = silent >= silentProbes && (before?.isOut === true || someAlive);
    nodes.set(name, { isOut, silent, answer: undefined });
    if (isOut && silent >= deadAfter) dead.push(name);
  }
  return { state: { mode: 'own', nodes, healthyRounds }, wantsProbe: false, dead };
}

function ofStaying(
  answers: ReadonlyMap<NodeName, CheckAnswer>,
  leaving: ReadonlySet<NodeName>,
): readonly CheckAnswer[] {
  return [...answers].flatMap(([name, answer]) => (leaving.has(name) ? [] : answer));
}

function unchanged(state: HealthState): Judgement {
  return { state, wantsProbe: false, dead: [] };
}

import { assertNever } from '../core/assert-never.ts';
import type { NodeName } from '../core/model/names.ts';
import type { CheckAnswer, CheckedNode } from '../ports/health.ts';

/*
 * Decides which nodes of one family get connections, as a pure state machine.
 *
 *              no node gives an HTTP answer, neither to HAProxy's checks nor to our own probe
 *            ┌───────────────────────────────────────────────────────────────────────────────►┐
 *       checks: HAProxy's checks decide                          own: our probe decides; HAProxy's checks are off
 *            └◄───────────────────────────────────────────────────────────────────────────────┘
 *              some node gives an HTTP answer to our probe, ten rounds in a row
 *
 * A check that fails on every node is a wrong check (k3s binds kube-proxy's health port to localhost), not a dead
 * cluster; hence the second mode. furiwake enters it at once, because HAProxy takes every node out at that moment, and
 * leaves it slowly, so that a flapping port does not make the mode flap.
 */

/** `silent`: rounds in a row without any answer. */
type NodeMemory = { readonly isOut: boolean; readonly silent: number; readonly answer: CheckAnswer | undefined };

export type HealthState = {
  readonly mode: 'checks' | 'own';
  readonly nodes: ReadonlyMap<NodeName, NodeMemory>;
  /** Rounds in a row in which the own probe got an HTTP answer from any node. */
  readonly httpRounds: number;
};

/** What one round of HAProxy's checks or of the own probe found. */
export type CheckRound =
  | { readonly from: 'checks'; readonly checks: ReadonlyMap<NodeName, CheckedNode> }
  /** `gone`: removed nodes that still have connections. Their answers do not count for the others. */
  | {
      readonly from: 'probe';
      readonly answers: ReadonlyMap<NodeName, CheckAnswer>;
      readonly gone: ReadonlyMap<NodeName, CheckAnswer>;
    };

export type Judgement = {
  readonly state: HealthState;
  /** No node answers HAProxy's checks: probe all nodes now, and pass the results to the next state. */
  readonly wantsProbe: boolean;
  /** Nodes that have been silent for too long: their connections must be reset, because HAProxy does not do that. */
  readonly dead: readonly NodeName[];
};

export const initialHealth: HealthState = { mode: 'checks', nodes: new Map(), httpRounds: 0 };

/** New connections stop after this many silent probes; HAProxy's checks (`fall 2`) have the same limit. */
export const silentProbes = 2;
const httpRoundsBack = 10;

/**
 * The next state. A family without nodes keeps its mode. `deadAfter`: rounds of silence, a second each, after which a
 * node's connections are reset.
 */
export function judge(state: HealthState, round: CheckRound, deadAfter: number): Judgement {
  switch (round.from) {
    case 'checks':
      return state.mode === 'checks' ? judgeChecks(state, round.checks, deadAfter) : unchanged(state);
    case 'probe':
      return state.mode === 'checks'
        ? judgeFirstProbe(state, round.answers)
        : judgeProbe(state, round.answers, round.gone, deadAfter);
    default:
      return assertNever(round);
  }
}

function judgeChecks(state: HealthState, checks: ReadonlyMap<NodeName, CheckedNode>, deadAfter: number): Judgement {
  const nodes = new Map<NodeName, NodeMemory>();
  for (const [name, check] of checks) {
    const before = state.nodes.get(name);
    const answer = check.answer ?? before?.answer; // an unknown state is as it was before
    const silent = answer === 'silent' ? (before?.silent ?? 0) + 1 : 0;
    nodes.set(name, { isOut: !check.isUp, silent, answer });
  }
  const all = [...nodes];
  const someHttp = all.some(([, { answer }]) => isHttp(answer));
  const someOther = all.some(([, { answer }]) => answer === 'alive' || answer === 'silent');
  // Without any HTTP answer the silence of a single node has no meaning.
  const dead = someHttp ? all.filter(([, node]) => node.isOut && node.silent >= deadAfter) : [];
  return {
    state: { ...state, nodes },
    wantsProbe: someOther && !someHttp,
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

function judgeFirstProbe(state: HealthState, answers: ReadonlyMap<NodeName, CheckAnswer>): Judgement {
  if (answers.size === 0 || [...answers.values()].some(isHttp)) return unchanged(state);
  const nodes = new Map<NodeName, NodeMemory>();
  for (const [name, answer] of answers)
    nodes.set(name, { isOut: false, silent: answer === 'silent' ? 1 : 0, answer: undefined });
  return { state: { mode: 'own', nodes, httpRounds: 0 }, wantsProbe: false, dead: [] };
}

function judgeProbe(
  state: HealthState,
  answers: ReadonlyMap<NodeName, CheckAnswer>,
  gone: ReadonlyMap<NodeName, CheckAnswer>,
  deadAfter: number,
): Judgement {
  const found = [...answers];
  const httpRounds = found.some(([, answer]) => isHttp(answer)) ? state.httpRounds + 1 : 0;
  if (httpRounds >= httpRoundsBack) return unchanged({ mode: 'checks', nodes: new Map(), httpRounds: 0 });
  // The last living nodes are never taken out: their silence then more likely means that the host's own network failed.
  const someAlive = found.some(([, answer]) => answer !== 'silent');
  const nodes = new Map<NodeName, NodeMemory>();
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

function isHttp(answer: CheckAnswer | undefined): boolean {
  return answer === 'ok' || answer === 'unhealthy';
}

function unchanged(state: HealthState): Judgement {
  return { state, wantsProbe: false, dead: [] };
}

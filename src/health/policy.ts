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

/** `silent`: rounds in a row without any answer; `silentMs`: from the first to the last of them. */
type NodeMemory = {
  readonly isOut: boolean;
  readonly silent: number;
  readonly silentMs: number;
  readonly answer: CheckAnswer | undefined;
};

export type HealthState = {
  readonly mode: 'checks' | 'own';
  readonly nodes: ReadonlyMap<NodeName, NodeMemory>;
  /** Rounds in a row in which the own probe found any staying node healthy. */
  readonly healthyRounds: number;
  /** When the last round ended, monotonic ms; `undefined` before the first. */
  readonly atMs: number | undefined;
};

/** What one round of HAProxy's checks or of the own probe found. */
export type CheckRound = (
  | { readonly from: 'checks'; readonly checks: ReadonlyMap<NodeName, CheckedNode> }
  | { readonly from: 'probe'; readonly answers: ReadonlyMap<NodeName, CheckAnswer> }
) & {
  /** Nodes that are drained, or removed and still have connections. */
  readonly leaving: ReadonlySet<NodeName>;
};

/** `atMs`: when the round ended, monotonic. `silenceMs`: how long a node is silent before its connections are reset. */
type RoundTime = { readonly atMs: number; readonly silenceMs: number };

export type Judgement = {
  readonly state: HealthState;
  /** No staying node passes HAProxy's checks: probe all nodes now, and pass the results to the next state. */
  readonly wantsProbe: boolean;
  /** Nodes that have been silent for too long: their connections must be reset, because HAProxy does not do that. */
  readonly dead: readonly NodeName[];
};

export const initialHealth: HealthState = { mode: 'checks', nodes: new Map(), healthyRounds: 0, atMs: undefined };

/** New connections stop after this many silent probes; HAProxy's checks (`fall 2`) have the same limit. */
export const silentProbes = 2;
const healthyRoundsBack = 10;
/** A longer time between two rounds counts as this: whether a node was silent all the while is not known. */
const longestGapMs = 3_000;

/** The next state. A family without nodes keeps its mode. The silence of a node counts from the first round without an answer. */
export function judge(state: HealthState, round: CheckRound, time: RoundTime): Judgement {
  const judgement = judgeRound(state, round, time);
  return { ...judgement, state: { ...judgement.state, atMs: time.atMs } };
}

function judgeRound(state: HealthState, round: CheckRound, time: RoundTime): Judgement {
  switch (round.from) {
    case 'checks':
      return state.mode === 'checks' ? judgeChecks(state, round, time) : unchanged(state);
    case 'probe':
      return state.mode === 'checks' ? judgeFirstProbe(state, round, time) : judgeProbe(state, round, time);
    default:
      return assertNever(round);
  }
}

/** The silence of a node after a further round. */
function silenceAfter(
  state: HealthState,
  name: NodeName,
  answer: CheckAnswer | undefined,
  { atMs }: RoundTime,
): Pick<NodeMemory, 'silent' | 'silentMs'> {
  if (answer !== 'silent') return { silent: 0, silentMs: 0 };
  const { silent = 0, silentMs = 0 } = state.nodes.get(name) ?? {};
  const gapMs = silent === 0 ? 0 : Math.min(longestGapMs, atMs - (state.atMs ?? atMs));
  return { silent: silent + 1, silentMs: silentMs + gapMs };
}

type RoundFrom<From extends CheckRound['from']> = Extract<CheckRound, { readonly from: From }>;

function judgeChecks(state: HealthState, { checks, leaving }: RoundFrom<'checks'>, time: RoundTime): Judgement {
  const nodes = new Map<NodeName, NodeMemory>();
  for (const [name, check] of checks) {
    const before = state.nodes.get(name);
    const answer = check.answer ?? before?.answer; // an unknown state is as it was before
    nodes.set(name, { isOut: !check.isUp, ...silenceAfter(state, name, answer, time), answer });
  }
  const all = [...nodes];
  const found = all.flatMap(([name, { answer }]) => (leaving.has(name) || answer === undefined ? [] : [answer]));
  // Without any healthy node the silence of a single node has no meaning.
  const isRight = all.some(([, { answer }]) => answer === 'ok');
  const dead = isRight ? all.filter(([, node]) => node.isOut && node.silentMs >= time.silenceMs) : [];
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

function judgeFirstProbe(state: HealthState, { answers, leaving }: RoundFrom<'probe'>, time: RoundTime): Judgement {
  const found = ofStaying(answers, leaving);
  if (found.length === 0 || found.includes('ok')) return unchanged(state);
  const someAlive = found.some((answer) => answer !== 'silent');
  const nodes = new Map<NodeName, NodeMemory>();
  for (const [name, answer] of answers) {
    const silence = silenceAfter(state, name, answer, time);
    const isOut = silence.silent >= silentProbes && state.nodes.get(name)?.isOut === true && someAlive;
    nodes.set(name, { isOut, ...silence, answer: undefined });
  }
  return { state: { ...state, mode: 'own', nodes, healthyRounds: 0 }, wantsProbe: false, dead: [] };
}

function judgeProbe(state: HealthState, { answers, leaving }: RoundFrom<'probe'>, time: RoundTime): Judgement {
  const found = ofStaying(answers, leaving);
  const healthyRounds = found.includes('ok') ? state.healthyRounds + 1 : 0;
  if (healthyRounds >= healthyRoundsBack)
    return unchanged({ ...state, mode: 'checks', nodes: new Map(), healthyRounds: 0 });
  // The last living nodes are never taken out: their silence then more likely means that the host's own network failed.
  const someAlive = found.some((answer) => answer !== 'silent');
  const nodes = new Map<NodeName, NodeMemory>();
  const dead: NodeName[] = [];
  for (const [name, answer] of answers) {
    const silence = silenceAfter(state, name, answer, time);
    const isOut = silence.silent >= silentProbes && (state.nodes.get(name)?.isOut === true || someAlive);
    nodes.set(name, { isOut, ...silence, answer: undefined });
    if (isOut && silence.silentMs >= time.silenceMs) dead.push(name);
  }
  return { state: { ...state, mode: 'own', nodes, healthyRounds }, wantsProbe: false, dead };
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

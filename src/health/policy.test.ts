import { expect, test } from 'vitest';
import { checks, checksWhile, probe, probeWhile } from '../../test/make/check-rounds.ts';
import { type CheckRound, type HealthState, initialHealth, judge } from './policy.ts';

const own = (rounds: number): readonly CheckRound[] => Array.from({ length: rounds }, () => probe('ok', 'alive'));
const intoOwn = [checks('alive!', 'alive!'), probe('alive', 'alive')];

type Case = {
  readonly name: string;
  readonly findings: readonly CheckRound[];
  readonly mode: 'checks' | 'own';
  readonly dead?: readonly string[];
  readonly out?: readonly string[];
  readonly wantsProbe?: boolean;
};

const cases: readonly Case[] = [
  {
    name: 'before the first check the state is unknown and nothing happens',
    findings: [checks('-', '-')],
    mode: 'checks',
  },
  {
    name: 'one healthy node shows that the check is right',
    findings: [checks('ok', 'unhealthy!', 'alive!', 'silent!')],
    mode: 'checks',
    out: ['n2', 'n3', 'n4'],
  },
  {
    name: 'without a healthy node the own probe is asked',
    findings: [checks('unhealthy!', 'unhealthy!')],
    mode: 'checks',
    wantsProbe: true,
    out: ['n1', 'n2'],
  },
  {
    name: 'where every node is unhealthy none is given up',
    findings: [checks('unhealthy!', 'unhealthy!'), probe('unhealthy', 'unhealthy')],
    mode: 'own',
  },
  {
    name: 'the last healthy node dies: an unhealthy one takes its connections, and the dead one stays out',
    findings: [
      checks('ok', 'unhealthy!'),
      checks('silent', 'unhealthy!'),
      checks('silent!', 'unhealthy!'),
      probe('silent', 'unhealthy'),
    ],
    mode: 'own',
    out: ['n1'],
  },
  {
    name: 'its silence is counted on',
    findings: [
      checks('silent', 'unhealthy!'),
      checks('silent!', 'unhealthy!'),
      probe('silent', 'unhealthy'),
      probe('silent', 'unhealthy'),
    ],
    mode: 'own',
    dead: ['n1'],
    out: ['n1'],
  },
  {
    name: 'a node that is silent once or twice keeps its connections',
    findings: [checks('ok', 'silent'), checks('ok', 'silent!')],
    mode: 'checks',
    out: ['n2'],
  },
  {
    name: 'a node that is silent for three checks is dead',
    findings: [checks('ok', 'silent'), checks('ok', 'silent!'), checks('ok', 'silent!')],
    mode: 'checks',
    dead: ['n2'],
    out: ['n2'],
  },
  {
    name: 'a check without a result counts as the one before',
    findings: [checks('ok', 'silent'), checks('ok', '-'), checks('ok', 'silent!')],
    mode: 'checks',
    dead: ['n2'],
    out: ['n2'],
  },
  {
    name: 'a refusal between silences restarts the count',
    findings: [checks('ok', 'silent'), checks('ok', 'silent!'), checks('ok', 'alive!'), checks('ok', 'silent!')],
    mode: 'checks',
    out: ['n2'],
  },
  {
    name: 'a node that HAProxy considers up is never dead',
    findings: Array.from({ length: 5 }, () => checks('ok', 'silent')),
    mode: 'checks',
  },
  {
    name: 'a node that keeps refusing is out and not dead',
    findings: Array.from({ length: 9 }, () => checks('ok', 'alive!')),
    mode: 'checks',
    out: ['n2'],
  },
  {
    name: 'without a healthy node a probe is wanted, and silence makes no node dead',
    findings: Array.from({ length: 5 }, () => checks('silent!', 'silent!')),
    mode: 'checks',
    wantsProbe: true,
    out: ['n1', 'n2'],
  },
  {
    name: 'while a node’s first check is under way, the failure of another already asks for a probe',
    findings: [checks('-', 'alive!')],
    mode: 'checks',
    wantsProbe: true,
    out: ['n2'],
  },
  {
    name: 'if the probe finds a healthy node the checks decide',
    findings: [checks('alive!', 'alive!'), probe('alive', 'ok')],
    mode: 'checks',
    out: ['n1', 'n2'],
  },
  {
    name: 'if the probe finds none either it decides from now on, with all nodes in',
    findings: intoOwn,
    mode: 'own',
  },
  {
    name: 'all silent: the probe decides, with all nodes in',
    findings: [checks('silent!', 'silent!'), probe('silent', 'silent')],
    mode: 'own',
  },
  { name: 'no node is taken out at the first silence', findings: [...intoOwn, probe('alive', 'silent')], mode: 'own' },
  {
    name: 'a node silent twice is out, and not dead yet',
    findings: [...intoOwn, probe('alive', 'silent'), probe('alive', 'silent')],
    mode: 'own',
    out: ['n2'],
  },
  {
    name: 'one that is silent for the permitted time is dead',
    findings: [...intoOwn, ...Array.from({ length: 3 }, () => probe('alive', 'silent'))],
    mode: 'own',
    out: ['n2'],
    dead: ['n2'],
  },
  {
    name: 'one answer brings it back',
    findings: [...intoOwn, probe('alive', 'silent'), probe('alive', 'silent'), probe('alive', 'alive')],
    mode: 'own',
  },
  {
    name: 'when all are silent no node is taken out',
    findings: [...intoOwn, ...Array.from({ length: 9 }, () => probe('silent', 'silent'))],
    mode: 'own',
  },
  {
    name: 'the last living node stays in when it also becomes silent',
    findings: [
      ...intoOwn,
      probe('alive', 'silent'),
      probe('alive', 'silent'),
      probe('silent', 'silent'),
      probe('silent', 'silent'),
    ],
    mode: 'own',
    out: ['n2'],
    dead: ['n2'],
  },
  {
    name: 'a removed node that is silent for the permitted time is dead',
    findings: [...intoOwn, ...Array.from({ length: 3 }, () => probeWhile({ old: 'silent' }, 'alive', 'alive'))],
    mode: 'own',
    out: ['old'],
    dead: ['old'],
  },
  {
    name: 'an answer of a removed node does not take out all remaining nodes',
    findings: [...intoOwn, ...Array.from({ length: 9 }, () => probeWhile({ old: 'alive' }, 'silent', 'silent'))],
    mode: 'own',
  },
  {
    name: 'a healthy node that is removed does not return the decision to the checks',
    findings: [...intoOwn, ...Array.from({ length: 10 }, () => probeWhile({ old: 'ok' }, 'alive', 'alive'))],
    mode: 'own',
  },
  { name: 'nine rounds with a healthy node change nothing', findings: [...intoOwn, ...own(9)], mode: 'own' },
  { name: 'ten in a row return the decision to the checks', findings: [...intoOwn, ...own(10)], mode: 'checks' },
  {
    name: 'a round without one restarts the count',
    findings: [...intoOwn, ...own(9), probe('alive', 'alive'), ...own(9)],
    mode: 'own',
  },
  {
    name: 'draining the last healthy node keeps no unhealthy one out of use',
    findings: [
      checks('ok', 'unhealthy!'),
      checksWhile(['n1'], 'ok', 'unhealthy!'),
      probeWhile({ n1: 'ok' }, 'ok', 'unhealthy'),
    ],
    mode: 'own',
  },
  {
    name: 'while it drains the decision does not return to the checks',
    findings: [...intoOwn, ...Array.from({ length: 10 }, () => probeWhile({ n1: 'ok' }, 'ok', 'unhealthy'))],
    mode: 'own',
  },
  {
    name: 'the only node that takes connections stays in although a drained one answers and it does not',
    findings: [...intoOwn, ...Array.from({ length: 9 }, () => probeWhile({ n1: 'ok' }, 'ok', 'silent'))],
    mode: 'own',
  },
  {
    name: 'a drained node that is silent is dead, like any other',
    findings: Array.from({ length: 3 }, () => checksWhile(['n2'], 'ok', 'silent!')),
    mode: 'checks',
    dead: ['n2'],
    out: ['n2'],
  },
  {
    name: 'if all nodes are drained nothing changes',
    findings: [checksWhile(['n1', 'n2'], 'ok', 'unhealthy!'), probeWhile({ n1: 'ok', n2: 'unhealthy' })],
    mode: 'checks',
    out: ['n2'],
  },
  { name: 'without nodes nothing changes', findings: [checks(), probe()], mode: 'checks' },
];

test.each(cases)('$name', ({ findings, mode, dead = [], out = [], wantsProbe = false }) => {
  let state: HealthState = initialHealth;
  let last = { dead: [] as readonly string[], wantsProbe: false };
  for (const [second, finding] of findings.entries()) {
    const verdict = judge(state, finding, { atMs: second * 1000, silenceMs: 2000 });
    state = verdict.state;
    last = verdict;
  }
  expect(state.mode).toBe(mode);
  expect([...state.nodes].filter(([, { isOut }]) => isOut).map(([name]) => name)).toEqual(out);
  expect(last.dead).toEqual(dead);
  expect(last.wantsProbe).toBe(wantsProbe);
});

/** The seconds in which n2 is dead, if it is silent in rounds that end then; its connections are reset after five. */
function deadAt(from: 'checks' | 'probe', seconds: readonly number[]): readonly number[] {
  let state: HealthState = { ...initialHealth, mode: from === 'checks' ? 'checks' : 'own' };
  return seconds.filter((second) => {
    const round = from === 'checks' ? checks('ok', 'silent!') : probe('alive', 'silent');
    const { state: next, dead } = judge(state, round, { atMs: second * 1000, silenceMs: 5000 });
    state = next;
    return dead.length > 0;
  });
}

test.each(['checks', 'probe'] as const)('the silence of a node is time, not rounds, by %s', (from) => {
  expect(deadAt(from, [10, 11, 12, 13, 14, 15, 16])).toEqual([15, 16]);
  expect(deadAt(from, [10, 12.5, 15, 17.5])).toEqual([15, 17.5]); // rounds that take long
  expect(deadAt(from, [10, 10.1, 10.2, 10.3, 10.4, 10.5, 10.6])).toEqual([]);
});

test.each(['checks', 'probe'] as const)(
  'a minute without a round does not count as a minute of silence, by %s',
  (from) => {
    expect(deadAt(from, [10, 70, 71, 72, 73])).toEqual([72, 73]);
  },
);

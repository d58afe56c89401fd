import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checks, probe } from '../../test/make/check-rounds.ts';
import { nodeName } from '../../test/make/table.ts';
import type { CheckAnswer } from '../ports/health.ts';
import { type HealthState, initialHealth, judge } from './policy.ts';

test('while the own probe decides, only silent nodes are out, and never all of them', () => {
  const answers = fc.array(fc.constantFrom<CheckAnswer>('ok', 'alive', 'silent'), { minLength: 3, maxLength: 3 });
  fc.assert(
    fc.property(fc.array(answers, { maxLength: 40 }), (rounds) => {
      let state: HealthState = { ...initialHealth, mode: 'own' };
      for (const [second, round] of rounds.entries()) {
        const verdict = judge(state, probe(...round), { atMs: second * 1000, silenceMs: 2000 });
        state = verdict.state;
        const out = [...state.nodes].filter(([, { isOut }]) => isOut).map(([name]) => name);
        expect(out.length).toBeLessThan(3);
        for (const name of [...out, ...verdict.dead]) expect(round[Number(name.slice(1)) - 1]).toBe('silent');
      }
    }),
  );
});

test('some node takes connections, if one may and any of those answers', () => {
  const node = fc.record({
    answer: fc.constantFrom<CheckAnswer>('ok', 'alive', 'unhealthy', 'silent'),
    isLeaving: fc.boolean(),
  });
  const round = fc.array(node, { minLength: 3, maxLength: 3 });
  fc.assert(
    fc.property(fc.array(round, { maxLength: 40 }), (rounds) => {
      let state = initialHealth;
      for (const [second, found] of rounds.entries()) {
        const time = { atMs: second * 1000, silenceMs: 2000 };
        const names = found.map((_, index) => nodeName(`n${index + 1}`));
        const leaving = new Set(names.filter((_, index) => found[index]?.isLeaving));
        const answers = found.map(({ answer }) => answer);
        const probed = { ...probe(...answers), leaving };
        let verdict = judge(
          state,
          { ...checks(...answers.map((each) => (each === 'ok' ? each : `${each}!`))), leaving },
          time,
        );
        if (state.mode === 'own' || verdict.wantsProbe) verdict = judge(verdict.state, probed, time);
        ({ state } = verdict);
        const staying = names.filter((name, index) => !leaving.has(name) && answers[index] !== 'silent');
        const inUse = staying.filter((name) => state.nodes.get(name)?.isOut !== true);
        expect(inUse.length > 0).toBe(staying.length > 0);
      }
    }),
  );
});

test('as long as some node is healthy the mode changes only to the checks, and only once', () => {
  const round = fc.tuple(
    fc.constantFrom('ok', 'unhealthy!', 'unhealthy'),
    fc.constantFrom('ok', 'alive!', 'silent!', '-'),
  );
  fc.assert(
    fc.property(fc.constantFrom('checks', 'own'), fc.array(round, { maxLength: 40 }), (mode, rounds) => {
      let state: HealthState = { ...initialHealth, mode };
      const modes = rounds.map((words, second) => {
        const found = state.mode === 'own' ? probe('ok', 'silent') : checks(...words);
        state = judge(state, found, { atMs: second * 1000, silenceMs: 2000 }).state;
        return state.mode;
      });
      const changes = [mode, ...modes].filter((each, index, all) => index > 0 && each !== all[index - 1]);
      expect(changes).toEqual(mode === 'own' && rounds.length >= 10 ? ['checks'] : []);
    }),
  );
});

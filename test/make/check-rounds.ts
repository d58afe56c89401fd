import type { CheckRound } from '../../src/health/policy.ts';
import type { CheckAnswer } from '../../src/ports/health.ts';
import { nodeName } from './table.ts';

/** A round as `n1 n2 …`: a check's answer, `-` while none is known, followed by `!` if HAProxy considers it down. */
export function checks(...words: readonly string[]): CheckRound {
  return checksWhile([], ...words);
}

export function checksWhile(leaving: readonly string[], ...words: readonly string[]): CheckRound {
  const looks = words.map((word, index) => {
    const answer = word.replace('!', '');
    return [
      nodeName(`n${index + 1}`),
      { isUp: !word.endsWith('!'), answer: answer === '-' ? undefined : (answer as CheckAnswer) },
    ] as const;
  });
  return { from: 'checks', checks: new Map(looks), leaving: new Set(leaving.map(nodeName)) };
}

export function probe(...answers: readonly CheckAnswer[]): CheckRound {
  return probeWhile({}, ...answers);
}

export function probeWhile(
  leaving: Readonly<Record<string, CheckAnswer>>,
  ...answers: readonly CheckAnswer[]
): CheckRound {
  return {
    from: 'probe',
    answers: new Map([
      ...answers.map((answer, index) => [nodeName(`n${index + 1}`), answer] as const),
      ...Object.entries(leaving).map(([name, answer]) => [nodeName(name), answer] as const),
    ]),
    leaving: new Set(Object.keys(leaving).map(nodeName)),
  };
}

import type { Verdict } from './ginkgo.ts';
import { shortName } from './ginkgo.ts';
import type { Result } from './results.ts';

/** Colours a text on a terminal, by the code of ECMA-48. */
export type Paint = (code: number, text: string) => string;

const colours: Readonly<Record<Verdict, number>> = { passed: 32, failed: 31, skipped: 33 };

/** The first line of the table. */
export function formatHead(paint: Paint): string {
  return `${paint(1, `${'verdict'.padEnd(8)} ${'seconds'.padStart(7)}  case`)}\n`;
}

/** The lines of a case: verdict, seconds and name, and below them why it has not passed. */
export function formatRow({ name, verdict, seconds, why }: Result, paint: Paint, isEarlier: boolean): string {
  const row = `${paint(colours[verdict], verdict.padEnd(8))} ${String(seconds).padStart(7)}  ${shortName(name)}`;
  return `${row}${isEarlier ? paint(2, ' (in an earlier run)') : ''}\n${why === '' ? '' : `${' '.repeat(18)}${why}\n`}`;
}

/**
 * The last lines: how many of the cases passed, and whether they were run on one furiwake.
 *
 * @param total the number of chosen cases; those without a result were not run.
 */
export function formatTotals(results: readonly Result[], total: number): string {
  const count = (verdict: Verdict): number => results.filter((each) => each.verdict === verdict).length;
  const seconds = results.reduce((sum, each) => sum + each.seconds, 0);
  const minutes = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')} min`;
  const missing = total - results.length;
  const counts = [
    `${count('passed')} passed`,
    `${count('failed')} failed`,
    `${count('skipped')} skipped`,
    ...(missing > 0 ? [`${missing} not run`] : []),
  ];
  const tested = [...new Set(results.map(({ furiwake }) => furiwake))];
  const line = `${total} ${total === 1 ? 'case' : 'cases'}: ${counts.join(', ')}; ${minutes}.`;
  return tested.length > 1
    ? `${line}\nNot one complete run: results of ${tested.length} builds of furiwake. FRESH=1 repeats all.\n`
    : `${line}\n`;
}

import { isPassed, type Judgement, type Verdict } from './judge.ts';
import type { Lack } from './lacks.ts';

/** Colours a text on a terminal, by the code of ECMA-48. */
export type Paint = (code: number, text: string) => string;

const colours: Readonly<Record<Verdict, number>> = { fully: 32, partly: 33, not: 31 };

/** The head of the table, and the widths of its columns. */
const columns = [
  { title: 'case', width: 28 },
  { title: 'what', width: 44 },
  { title: 'verdict', width: 8 },
  { title: 'address', width: 9 },
  { title: 'missing', width: 0 },
] as const;

/** The first line of the table on a terminal. */
export function formatHead(paint: Paint): string {
  return `${paint(1, line(columns.map(({ title }) => title)))}\n`;
}

/** The line of a case: its name, what it is, the verdict, create → address, and everything that is missing. */
export function formatRow(judgement: Judgement, paint: Paint): string {
  const { name, what, verdict, addressMs, lacks, traces } = judgement;
  const address = addressMs === undefined ? '-' : `${addressMs} ms`;
  const missing = [...lacks.map((lack) => lackText(lack, paint)), ...traces.map((each) => paint(31, `left: ${each}`))];
  const plain = line([name, what, verdict, address, '']).trimEnd();
  const painted = plain.replace(` ${verdict} `, ` ${paint(isPassed(judgement) ? colours[verdict] : 31, verdict)} `);
  return `${missing.length === 0 ? painted : `${painted}  ${missing.join('; ')}`}\n`;
}

function line(cells: readonly string[]): string {
  return cells
    .map((cell, index) => {
      const { width } = columns[index] ?? { width: 0 };
      if (width === 0) return cell;
      if (columns[index]?.title === 'address') return cell.padStart(width);
      return (cell.length > width ? `${cell.slice(0, width - 1)}…` : cell).padEnd(width);
    })
    .join('  ');
}

function lackText({ what, detail, isNamed }: Lack, paint: Paint): string {
  return isNamed ? `${what} (${detail})` : `${paint(31, `${what}, not named`)} (${detail})`;
}

/** What the cases add up to. */
export type Totals = Readonly<Record<Verdict, number>> & {
  readonly cases: number;
  /** Cases that {@link isPassed} refuses. */
  readonly failed: number;
  readonly medianAddressMs: number | undefined;
  readonly medianGoneMs: number | undefined;
  /** Each missing thing, the most frequent first. */
  readonly missing: readonly { readonly what: string; readonly cases: number; readonly notNamed: number }[];
};

/** Adds the judgements up. */
export function sumUp(judgements: readonly Judgement[]): Totals {
  const count = (verdict: Verdict): number => judgements.filter((each) => each.verdict === verdict).length;
  const lacks = Map.groupBy(
    judgements.flatMap((each) => each.lacks),
    ({ what }) => what,
  );
  return {
    cases: judgements.length,
    fully: count('fully'),
    partly: count('partly'),
    not: count('not'),
    failed: judgements.filter((each) => !isPassed(each)).length,
    medianAddressMs: medianOf(judgements.map(({ addressMs }) => addressMs)),
    medianGoneMs: medianOf(judgements.map(({ goneMs }) => goneMs)),
    missing: [...lacks]
      .map(([what, all]) => ({ what, cases: all.length, notNamed: all.filter(({ isNamed }) => !isNamed).length }))
      .sort((a, b) => b.cases - a.cases || a.what.localeCompare(b.what)),
  };
}

function medianOf(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  return known[Math.floor(known.length / 2)];
}

/** The last lines: how many cases are served, the medians, and the missing things. */
export function formatTotals(totals: Totals): string {
  const { cases, fully, partly, not, failed, medianAddressMs, medianGoneMs, missing } = totals;
  const ms = (value: number | undefined): string => (value === undefined ? '-' : `${value} ms`);
  const things = missing.map(({ what, cases: count, notNamed }) =>
    notNamed === 0 ? `${what} ${count}` : `${what} ${count} (${notNamed} not named)`,
  );
  return [
    `${cases} ${cases === 1 ? 'case' : 'cases'}: ${fully} fully, ${partly} partly, ${not} not; ${failed} failed.`,
    `Median create → address ${ms(medianAddressMs)}, delete → gone ${ms(medianGoneMs)}.`,
    ...(things.length === 0 ? [] : [`Missing: ${things.join(', ')}.`]),
  ].join('\n');
}

/** The results as a page of the documentation. */
export function formatPage(
  judgements: readonly Judgement[],
  { command, date }: { command: string; date: string },
): string {
  const bold = (text: string): string => `**${text}**`;
  const rows = judgements.map((judgement) => {
    const { name, what, verdict, addressMs, lacks, traces } = judgement;
    const missing = [
      ...lacks.map((lack) => lackText(lack, (_, text) => bold(text))),
      ...traces.map((each) => bold(`left: ${each}`)),
    ];
    const shown = isPassed(judgement) ? verdict : bold(verdict);
    const cells = [name, what, shown, addressMs === undefined ? '-' : `${addressMs} ms`, missing.join('; ') || '-'];
    return `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`;
  });
  return `<!-- Written by \`${command}\`: run it again instead of changing the page. -->

# How the corpus is served

Services as people deploy them on bare metal, each created alone in the lab: \`${command}\` on ${date}.
[test/corpus](../test/corpus/README.md) has the Services and explains the judgement. A verdict in bold is a failure: the case
lacks more than one thing, or one that the status of its Service does not name.

${formatTotals(sumUp(judgements)).replaceAll('\n', '\n\n')}

| case | what | verdict | create → address | missing |
|------|------|---------|------------------|---------|
${rows.join('\n')}
`;
}

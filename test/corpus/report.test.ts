import { expect, test } from 'vitest';
import { isPassed, type Judgement } from './judge.ts';
import { formatPage, formatRow, formatTotals, sumUp } from './report.ts';

const full: Judgement = {
  name: '01-full',
  what: 'a Service',
  verdict: 'fully',
  ports: 1,
  answered: 1,
  lacks: [],
  addressMs: 100,
  goneMs: 50,
  traces: [],
  says: [],
};
const udp = { what: 'udp', detail: '53/UDP refused', isNamed: true };
const named: Judgement = { ...full, name: '02-named', verdict: 'partly', lacks: [udp], addressMs: 300 };
const silent: Judgement = { ...named, name: '03-silent', lacks: [{ ...udp, isNamed: false }], addressMs: 200 };
const none: Judgement = { ...named, name: '04-none', verdict: 'not', addressMs: undefined, goneMs: undefined };
const paint = (code: number, text: string): string => `<${code} ${text}>`;

test.each([
  ['that is fully served', full, true],
  ['that lacks one thing and says so', named, true],
  ['that is not served at all and says so', none, true],
  ['that does not say what it lacks', silent, false],
  ['that lacks two things', { ...named, lacks: [udp, { ...udp, what: 'local' }] }, false],
  ['that leaves a trace', { ...full, traces: ['203.0.113.1 in nftables'] }, false],
])('a case %s: passed is %s', (_, judgement, expected) => {
  expect(isPassed(judgement)).toBe(expected);
});

test('a row shows the verdict in red if the case fails, and everything that is missing', () => {
  expect(formatRow(full, paint)).toMatch(/^01-full +a Service +<32 fully> +100 ms\n$/);
  expect(formatRow(named, paint)).toMatch(/^02-named +a Service +<33 partly> +300 ms {2}udp \(53\/UDP refused\)\n$/);
  expect(formatRow(silent, paint)).toMatch(/<31 partly> +200 ms {2}<31 udp, not named> \(53\/UDP refused\)\n$/);
  expect(formatRow(none, paint)).toMatch(/<31 not> +- {2}udp \(53\/UDP refused\)\n$/);
  expect(formatRow({ ...full, traces: ['it answers'] }, paint)).toMatch(/<31 fully> .*<31 left: it answers>\n$/);
});

test('the total counts verdicts and failures, and each missing thing', () => {
  expect(formatTotals(sumUp([full, named, silent, none]))).toBe(
    '4 cases: 1 fully, 2 partly, 1 not; 1 failed.\nMedian create → address 200 ms, delete → gone 50 ms.\nMissing: udp 3 (1 not named).',
  );
});

test('the page has a row for each case, with failures in bold', () => {
  const page = formatPage([named, silent], { command: 'make corpus', date: '2026-11-28' });
  expect(page).toContain('`make corpus` on 2026-11-28');
  expect(page).toContain('\n| 02-named | a Service | partly | 300 ms | udp (53/UDP refused) |\n');
  expect(page).toContain('\n| 03-silent | a Service | **partly** | 200 ms | **udp, not named** (53/UDP refused) |\n');
});

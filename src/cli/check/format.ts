import type { Finding, Mark } from './finding.ts';

const signs: Readonly<Record<Mark, string>> = { ok: '✓', warning: '!', wrong: '✗' };
const colours: Readonly<Record<Mark, string>> = { ok: '\u001b[32m', warning: '\u001b[33m', wrong: '\u001b[31m' };

/** A line per finding, what to do below it, and the sum. */
export function formatFindings(findings: readonly Finding[], isColoured: boolean): string {
  const width = Math.max(0, ...findings.map((finding) => finding.what.length));
  const lines = findings.map(({ mark, what, found, advice }) => {
    const sign = isColoured ? `${colours[mark]}${signs[mark]}\u001b[0m` : signs[mark];
    const line = `${sign} ${what.padEnd(width)}  ${found}\n`;
    return advice === undefined ? line : `${line}  ${' '.repeat(width)}  → ${advice}\n`;
  });
  const count = (mark: Mark): number => findings.filter((finding) => finding.mark === mark).length;
  const sum =
    count('wrong') > 0
      ? `${count('wrong')} wrong, ${count('warning')} to look at: this host cannot do the job yet.`
      : `Nothing wrong, ${count('warning')} to look at.`;
  return `${lines.join('')}\n${sum}\n`;
}

import type { Clock } from '../../ports/clock.ts';
import { makePaint, type Tone } from '../paint.ts';
import { printable, wrap } from '../terminal-text.ts';
import { counted, type Group, type GroupedFinding, type Mark } from './finding.ts';
import type { CheckView } from './inspect.ts';

export type ScreenDeps = {
  readonly write: (text: string) => void;
  readonly clock: Clock;
  readonly isColoured: boolean;
  /** Width of the terminal; `undefined` where the text goes to a file or a pipe: then nothing is wrapped or erased. */
  readonly columns: number | undefined;
};

export type Screen = CheckView & {
  /** The last line: the verdict. */
  conclude(): void;
};

const signs: Readonly<Record<Mark, string>> = { ok: '✓', warning: '!', problem: '✗', omitted: '-' };
const tones: Readonly<Record<Mark, Tone>> = {
  ok: 'good',
  warning: 'warning',
  problem: 'bad',
  omitted: 'plain',
};

/** Wider than the name of any check: the column is the same in all groups, although each line is written when it is known. */
const nameWidth = 19;
const indent = 2 + 2 + nameWidth + 2;
const eraseLine = '\r\u001b[K';
const quietMs = 2_000;
const tickMs = 1_000;

/**
 * The report of `furiwake check` for people: each line is written as soon as it is known, below the heading of its group.
 * On a terminal, a check that takes longer than two seconds is named, with how long it has taken.
 */
export function makeScreen({ write, clock, isColoured, columns }: ScreenDeps): Screen {
  const paint = makePaint(isColoured);
  const shown: GroupedFinding[] = [];
  let heading: Group | undefined;

  const count = (mark: Mark): number => shown.filter((finding) => finding.mark === mark).length;

  const verdict = (): string => {
    const [passed, warnings, problems, left] = [count('ok'), count('warning'), count('problem'), count('omitted')];
    const parts = [
      ...(problems > 0 ? [counted(problems, 'problem')] : []),
      ...(warnings > 0 ? [counted(warnings, 'warning')] : []),
      `${counted(passed, 'check')} passed`,
      ...(left > 0 ? [`${left} not made`] : []),
    ].join(', ');
    return problems > 0
      ? `${paint('Not ready', 'bad')}: ${parts}. Exit code 1: furiwake cannot do its job until the problems are solved.`
      : `${paint('Ready', 'good')}: ${parts}. Exit code 0: furiwake can run here.`;
  };

  const showProgress = async (what: string, signal: AbortSignal): Promise<void> => {
    const startMs = clock.monotonic();
    await clock.sleep(quietMs, signal);
    for (;;) {
      write(`${eraseLine}  … ${what}: ${Math.round((clock.monotonic() - startMs) / 1_000)} s`);
      await clock.sleep(tickMs, signal);
    }
  };

  return {
    begin: (group, what) => {
      if (group !== heading) write(`${heading === undefined ? '' : '\n'}${paint(group, 'heading')}\n`);
      heading = group;
      if (columns === undefined) return { [Symbol.dispose]: () => undefined };
      const startMs = clock.monotonic();
      const end = new AbortController();
      showProgress(what, end.signal).catch(() => undefined); // only that the check has ended
      return {
        [Symbol.dispose]: () => {
          end.abort();
          if (clock.monotonic() - startMs >= quietMs) write(eraseLine);
        },
      };
    },
    show: (finding) => {
      const { mark, what, found, advice } = finding;
      shown.push(finding);
      write(
        `  ${paint(signs[mark], tones[mark])} ${what.padEnd(nameWidth)}  ${wrap(printable(found), columns, indent)}\n`,
      );
      if (advice !== undefined) write(`${' '.repeat(indent)}→ ${wrap(advice, columns, indent + 2)}\n`);
    },
    conclude: () => write(`\n${wrap(verdict(), columns, 0)}\n`),
  };
}

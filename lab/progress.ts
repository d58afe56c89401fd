/** Shows the progress of a long operation on a terminal or in a log. */
export type Progress = {
  /** A permanent line. */
  readonly say: (text: string) => void;
  /** Starts a step. A step that is disposed of before it is `done` has failed. */
  readonly step: (title: string) => Step;
};

export type Step = Disposable & {
  /** The progress: `812 packages compiled`. Cheap; may be called often. */
  readonly update: (detail: string) => void;
  readonly done: () => void;
};

export type ProgressDeps = {
  readonly write: (text: string) => void;
  /** Width of the terminal in columns; `undefined`: not a terminal, plain lines only. */
  readonly columns: number | undefined;
  readonly hasColour: boolean;
  /** Milliseconds that never go backwards. */
  readonly now: () => number;
  /** Calls `tick` every `ms` until the answer is called. */
  readonly every: (ms: number, tick: () => void) => () => void;
};

/** Prints nothing. @public */
export const silent: Progress = {
  say: () => undefined,
  step: () => ({ update: () => undefined, done: () => undefined, [Symbol.dispose]: () => undefined }),
};

const terminalTickMs = 200;
const logTickMs = 30_000;

/**
 * On a terminal each step updates one line in place; elsewhere a step has a line at its start, one every half minute
 * and one at its end. One step at a time.
 */
export function makeProgress(deps: ProgressDeps): Progress {
  const { write, columns, now } = deps;
  const isTerminal = columns !== undefined;
  const colour = (code: number, text: string): string => (deps.hasColour ? `\u001B[${code}m${text}\u001B[0m` : text);
  const clear = isTerminal ? '\r\u001B[K' : '';
  return {
    say: (text) => write(`${clear}${text}\n`),
    step: (title) => {
      const started = now();
      let detail = '';
      let isOver = false;
      const show = (): void => {
        const text = [title, detail, elapsed(now() - started)].filter(Boolean).join(' · ');
        write(isTerminal ? `${clear}${text.slice(0, columns - 1)}` : `${text}\n`);
      };
      const stop = deps.every(isTerminal ? terminalTickMs : logTickMs, show);
      const end = (mark: string): void => {
        if (isOver) return;
        isOver = true;
        stop();
        write(`${clear}${mark} ${title} (${elapsed(now() - started)})\n`);
      };
      if (isTerminal) show();
      else write(`${title} …\n`);
      return {
        update: (text) => {
          detail = text;
        },
        done: () => end(colour(32, '✓')),
        [Symbol.dispose]: () => end(colour(31, '✗')),
      };
    },
  };
}

/** `0.4 s`, `12 s`, `4:05 min`. */
export function elapsed(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')} min`;
}

/** Progress on standard error; colour only on a terminal, and not where `NO_COLOR` is set. */
export function stderrProgress(): Progress {
  const { stderr } = process;
  return makeProgress({
    write: (text) => stderr.write(text),
    columns: stderr.isTTY ? stderr.columns : undefined,
    hasColour: stderr.isTTY && !process.env['NO_COLOR'],
    now: () => performance.now(),
    every: (ms, tick) => {
      const timer = setInterval(tick, ms).unref();
      return () => clearInterval(timer);
    },
  });
}

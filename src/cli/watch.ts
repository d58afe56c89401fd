import { messageOf } from '../async/error-words.ts';
import { makeBackoff } from '../async/backoff.ts';
import { StartError } from '../daemon/errors.ts';
import type { Clock } from '../ports/clock.ts';
import { redrawn } from './terminal-text.ts';

export type WatchDeps = {
  /** The JSON of one answer. Throws `StartError` without one, by a deadline of its own. */
  readonly ask: (signal: AbortSignal) => Promise<string>;
  readonly format: (answer: string) => string;
  /** Rows of the terminal at this moment, to redraw its screen; `undefined`: each block follows the last one. */
  readonly rows: () => number | undefined;
  /** Resolves when the text is written; rejects when the reader is gone. */
  readonly write: (text: string) => Promise<void>;
  readonly clock: Clock;
};

const everyMs = 2_000;
const mostMs = 30_000;

/**
 * `furiwake status --watch`: on a terminal, redraws the screen every two seconds; elsewhere writes a block when something
 * changed. A furiwake that stops answering is shown, and asked again after growing waits. Throws if the first answer fails,
 * and the reason of `signal`.
 */
export async function watchStatus({ ask, format, rows, write, clock }: WatchDeps, signal: AbortSignal): Promise<never> {
  const backoff = makeBackoff({ firstMs: everyMs, mostMs }); // a person waits for the answer
  let shown: string | undefined;
  const show = async (text: string, content: string): Promise<void> => {
    const height = rows();
    if (height !== undefined) await write(redrawn(text, height, shown === undefined));
    else if (content !== shown) await write(shown === undefined ? text : `\n${text}`);
    shown = content;
  };
  for (;;) {
    let waitMs = everyMs;
    try {
      const answer = await ask(signal);
      backoff.reset();
      await show(format(answer), contentOf(answer));
    } catch (error) {
      if (!(error instanceof StartError) || shown === undefined) throw error;
      waitMs = backoff.next();
      await show(`error: ${messageOf(error)}\n`, messageOf(error));
    }
    await clock.sleep(waitMs, signal);
  }
}

/** They change with time alone, or with something else in the answer. */
const passing = new Set(['at', 'upSeconds', 'ageSeconds', 'since', 'healthSince', 'sinceMs', 'healthSinceMs']);

/** An answer without what changes with time alone. */
function contentOf(answer: string): string {
  return JSON.stringify(JSON.parse(answer), (key, value: unknown) => (passing.has(key) ? undefined : value));
}

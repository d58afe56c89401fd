import type { TestProject } from 'vitest/node';

/** Takes away what a suite has up; `why` says what ended it. */
type Act = (why: string) => Promise<void>;

/** The runner loads this file once for each project: what they share is kept with the process. */
const shared: unique symbol = Symbol.for('furiwake.interrupt');
type Process = NodeJS.Process & { [shared]?: Set<Act> };

/** npm passes on a Ctrl-C that the terminal has sent to all of us: within this time it is the same one. */
const sameMs = 1_000;

/**
 * Does `act` when the run is to end before its time, and exits with 130 after it: at Ctrl-C, SIGTERM, SIGHUP and, where
 * `ENDS_WITH_STDIN=1` says that whoever started us holds the other end of it, at the end of standard input. The runner
 * itself would exit at once and leave up whatever is up. A second Ctrl-C does just that, and says how to clean up.
 */
export function onInterrupt({ vitest }: TestProject, act: Act): void {
  const here: Process = process;
  if (here[shared] !== undefined) {
    here[shared].add(act);
    return;
  }
  const acts = (here[shared] = new Set([act]));
  let firstMs: number | undefined;
  const interrupt = (why: string): void => {
    if (firstMs !== undefined) {
      if (performance.now() - firstMs > sameMs) giveUp();
      return;
    }
    firstMs = performance.now();
    vitest.cancelCurrentRun('keyboard-input').catch(() => undefined); // starts no further file; we do not wait for it
    void Promise.allSettled([...acts].map((each) => each(why))).then((results) => {
      for (const result of results) if (result.status === 'rejected') process.stderr.write(`${result.reason}\n`);
      process.exit(130);
    });
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.removeAllListeners(name).on(name, () => interrupt(name));
  }
  if (process.env['ENDS_WITH_STDIN'] === '1') {
    process.stdin
      .on('error', () => undefined) // `close` follows
      .once('close', () => interrupt('the end of standard input'))
      .resume()
      .unref();
  }
}

function giveUp(): never {
  process.stderr.write('Ended at once. What is left goes with: npm run lab -- down --all\n');
  process.exit(130);
}

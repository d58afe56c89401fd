import type { TestProject } from 'vitest/node';

/** Removes everything that a suite has started; `why` is the cause of its end. */
type Act = (why: string) => Promise<void>;

/** The runner loads this file once for each project, so the shared state is kept in the process. */
const shared: unique symbol = Symbol.for('furiwake.interrupt');
type Process = NodeJS.Process & { [shared]?: Set<Act> };

/** npm forwards a Ctrl-C that the terminal has sent to all processes: within this time it is the same one. */
const sameMs = 1_000;

/**
 * Does `act` when the run is interrupted, and then exits with 130: at Ctrl-C, SIGTERM, SIGHUP and, with
 * `ENDS_WITH_STDIN=1` (the parent holds the other end), at the end of standard input. The runner itself would exit at
 * once and leave everything running. A second Ctrl-C does that, and prints how to clean up.
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
    vitest.cancelCurrentRun('keyboard-input').catch(() => undefined); // starts no further file; no need to wait for it
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
  process.stderr.write('Ended at once. To remove the remains: npm run lab -- down --all\n');
  process.exit(130);
}

import { messageOf } from '../../../async/error-words.ts';
import { makeTrouble } from '../../../async/trouble.ts';
import type { ListenerKey } from '../../../core/model/names.ts';
import type { Clock } from '../../../ports/clock.ts';
import { type Exec, ExecError } from '../../../ports/exec.ts';
import type { Refusals } from '../../../ports/host.ts';
import type { Log } from '../../../ports/log.ts';
import { renderTable } from '../../nftables/table-text.ts';
import { directRules, directTable } from './ruleset.ts';

/**
 * Loads the table in a network namespace of its own, which ends with nft. Resolves with the first line of nft's message if nft or the
 * kernel lacks what the table needs.
 */
export async function tryDirectTable(exec: Exec, signal: AbortSignal): Promise<string | undefined> {
  const stdin = renderTable(directTable, [], 1, directRules(['lo'], 10_800));
  try {
    await exec.run('unshare', ['--net', 'nft', '-f', '-'], { stdin, signal });
    return undefined;
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    const [line = ''] = error.stderr.trim().split('\n');
    return line || messageOf(error);
  }
}

type Outcome = {
  readonly refusals: Refusals<ListenerKey>;
  /** What nft says if it, or the kernel, lacks what the table needs. */
  readonly lacking: string | undefined;
};

/**
 * Runs an `apply` of the table. Only if nft accepts no change at all, and the kernel has no table, it is tried: a table, perhaps of
 * an earlier process, shows that nft and the kernel have what it needs, and it has flows.
 */
export function makeTableTrial(deps: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether the kernel has the table, perhaps of an earlier process. */
  readonly exists: (signal: AbortSignal) => Promise<boolean>;
}): (apply: () => Promise<Refusals<ListenerKey>>, signal: AbortSignal) => Promise<Outcome> {
  const { exec, clock, log, exists } = deps;
  const trouble = makeTrouble({ what: 'loading the table of direct, for which HAProxy and nat stand in,', log, clock });
  return async (apply, signal) => {
    try {
      const refusals = await apply();
      trouble.over();
      return { refusals, lacking: undefined };
    } catch (error) {
      if (!(error instanceof ExecError) || (await exists(signal))) throw error;
      const words = await tryDirectTable(exec, signal);
      if (words === undefined || !isOfNft(words)) throw error;
      trouble.failed(words);
      return { refusals: new Map(), lacking: `nft: ${words}` };
    }
  };
}

/** Whether nft itself says it. A trial that could not run, or not end in time, shows nothing. */
function isOfNft(words: string): boolean {
  return /^(\S+ )?Error: /.test(words);
}

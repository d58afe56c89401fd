import type { Clock } from '../../ports/clock.ts';
import { type Conversation, type Exec, ExecError } from '../../ports/exec.ts';
import { tableName } from './ruleset.ts';

/** An nft process that stays: a transaction costs half a millisecond instead of four. */
export type NftSession = {
  /**
   * Sends one line, which is one transaction, and resolves when the kernel holds `generation`. Throws `ExecError` when
   * it does not, or gave no answer in time: the state of the kernel is then unknown. Never call it concurrently.
   */
  commit(change: string, generation: number, signal: AbortSignal): Promise<void>;
};

const answerMs = 5000;
/** nft keeps every line that it was sent, 0.6 kB a commit; a new process forgets them. */
const commitsPerProcess = 5000;

/** When its input ends, nft writes the lines to `~/.nft.history`: nothing of ours belongs there. */
const noHistory = 'HOME=/dev/null';

/*
 * `nft -i` says nothing on success and writes errors to another pipe. So each change is followed by two questions:
 * `list set … generation` (cheap: nft 1.0.6 reads only this set; for a counter or a table it would read every element
 * of the ruleset first, 40 ms with 10,000) and `describe mark`, which asks no kernel and always answers: the end.
 */
const questions = `list set ${tableName} generation\ndescribe mark\n`;

/** Starts nft with the first commit and again after it ended; it ends with `lifetime`. */
export function makeNftSession({
  exec,
  clock,
  lifetime,
}: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly lifetime: AbortSignal;
}): NftSession {
  let open: { readonly nft: Conversation; readonly lines: AsyncIterator<string>; commits: number } | undefined;

  const start = (): NonNullable<typeof open> => {
    const nft = exec.converse('env', [noHistory, 'nft', '--json', '--interactive'], lifetime);
    return { nft, lines: nft.lines[Symbol.asyncIterator](), commits: 0 };
  };

  const answer = async (lines: AsyncIterator<string>): Promise<string | undefined> => {
    let json: string | undefined;
    for (;;) {
      const next = await lines.next();
      if (next.done === true || !next.value.startsWith('{')) return next.done === true ? undefined : json;
      json = next.value;
    }
  };

  const close = async (): Promise<void> => {
    const { nft } = open ?? {};
    open = undefined;
    await nft?.[Symbol.asyncDispose]();
  };

  return {
    commit: async (change, generation, signal) => {
      open ??= start();
      const { nft, lines } = open;
      const within = clock.deadline(answerMs, signal);
      try {
        await nft.write(`${change}\n${questions}`);
        const json = await unlessAborted(answer(lines), within);
        if (json === undefined || !holdsGeneration(json, generation))
          throw new ExecError('nft --interactive', undefined, nft.takeErrors() || 'the change is not in force');
      } catch (error) {
        await close(); // what it would answer next is unknown
        throw error;
      }
      if (++open.commits === commitsPerProcess) await close();
    },
  };
}

function holdsGeneration(json: string, generation: number): boolean {
  const { nftables } = JSON.parse(json) as { nftables: readonly { set?: { elem?: readonly unknown[] } }[] };
  return nftables.some(({ set }) => set?.elem?.length === 1 && set.elem[0] === generation);
}

/** Rejects with the signal's reason as soon as it aborts. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    signal.throwIfAborted();
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

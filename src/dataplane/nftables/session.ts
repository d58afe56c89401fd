import type { Clock } from '../../ports/clock.ts';
import { makeLineDialogue } from '../../async/line-dialogue.ts';
import { type Exec, ExecError, jsonAnswer, type RunningProgram } from '../../ports/exec.ts';
import type { TableSpec } from './table-text.ts';

/** An nft process that stays open: a transaction costs half a millisecond instead of four. */
export type NftSession = {
  /**
   * Sends one line, which is one transaction, and resolves when the kernel has `generation`. Throws `ExecError` if it
   * does not, and another error if there is no answer in time: the state of the kernel is then unknown. Must not be
   * called concurrently.
   */
  commit(change: string, generation: number, signal: AbortSignal): Promise<void>;
  /** Sends one line, and resolves when nft has executed or refused it. Throws an error if there is no answer in time. */
  send(line: string, signal: AbortSignal): Promise<void>;
};

const answerMs = 5000;
/** nft keeps every line of its input in memory, 0.6 kB per commit, so the process is replaced regularly. */
const linesPerProcess = 5000;

/** When its input ends, nft writes the lines to `~/.nft.history`; furiwake's must not be there. */
export const noHistory = 'HOME=/dev/null';

/*
 * `nft -i` prints nothing on success and writes errors to another pipe. So two commands follow each change:
 * `list set … generation` (cheap: nft 1.0.6 reads only this set; for a counter or a table it would read every element
 * of the ruleset first, 40 ms with 10,000) and `describe mark`, which does not need the kernel and always answers, to
 * mark the end.
 */
const questions = ({ name }: Pick<TableSpec, 'name'>): string => `list set ${name} generation\n${endMark}`;
const endMark = 'describe mark\n';

/** Starts nft with the first commit, and again after it ended. The process ends with `lifetime`. */
export function makeNftSession(deps: {
  readonly table: Pick<TableSpec, 'name'>;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly lifetime: AbortSignal;
}): NftSession {
  const { table, exec, clock, lifetime } = deps;
  const dialogue = makeLineDialogue({
    name: 'nft --interactive',
    start: () => exec.spawn('env', [noHistory, 'nft', '--json', '--interactive'], lifetime),
    answerMs,
    clock,
  });
  let lines = 0;
  const renewInTime = async (): Promise<void> => {
    lines = (lines + 1) % linesPerProcess;
    if (lines === 0) await dialogue.close();
  };
  return {
    commit: async (change, generation, signal) => {
      await dialogue.ask(
        `${change}\n${questions(table)}`,
        async (answers, nft) => {
          const json = await answer(answers);
          if (json !== undefined && holdsGeneration(json, generation)) return true;
          throw new ExecError('nft --interactive', undefined, (await nft.takeErrors()) || 'the change is not in force');
        },
        signal,
      );
      await renewInTime();
    },
    send: async (line, signal) => {
      const read = async (answers: AsyncIterator<string>, nft: RunningProgram): Promise<true> => {
        await answer(answers);
        await nft.takeErrors();
        return true;
      };
      await dialogue.ask(`${line}\n${endMark}`, read, signal);
      await renewInTime();
    },
  };
}

/** The last line of JSON before the end of the answer; `undefined` if there is none. */
async function answer(lines: AsyncIterator<string>): Promise<string | undefined> {
  let json: string | undefined;
  for (;;) {
    const next = await lines.next();
    if (next.done === true) return undefined;
    if (!next.value.startsWith('{')) return json;
    json = next.value;
  }
}

/** Whether nft's JSON of set `generation` contains this one. */
export function holdsGeneration(json: string, generation: number): boolean {
  const { nftables } = jsonAnswer('nft', json) as { nftables: readonly { set?: { elem?: readonly unknown[] } }[] };
  return nftables.some(({ set }) => set?.elem?.length === 1 && set.elem[0] === generation);
}

import { createConnection, type Socket } from 'node:net';
import type { Clock } from '../../ports/clock.ts';
import { makeDialogue } from './dialogue.ts';
import { CommandRefusedError, RuntimeError } from './errors.ts';
import { entryLine } from './rows.ts';

/**
 * HAProxy's runtime API on the worker's socket (management guide, 9.3), in interactive mode: there a prompt ends each
 * answer. (In the other mode an empty line does, but not after all refusals: 2.6 forgets it for those of `del server`.)
 * One connection per call, so that an answer can never be taken for that of another call, and a call after a reload
 * reaches the new worker: an open connection stays with the old one, where commands succeed and change nothing.
 */
export type Runtime = {
  /** Sends the commands in order, as few lines as possible; their answers, without the final newline. */
  ask(commands: readonly string[], signal: AbortSignal): Promise<readonly string[]>;
  /** As `ask`; throws {@link CommandRefusedError} for the first answer that does not mean success. */
  perform(commands: readonly string[], signal: AbortSignal): Promise<void>;
  /** Replaces all entries of a map at once: no connection sees a part of it. */
  replaceMap(map: string, entries: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void>;
  /** Resolves when the process closes the connection, normally by dying; at once when nobody listens. */
  untilClosed(signal: AbortSignal): Promise<void>;
};

/** Below `tune.bufsize` (16 kB), which bounds one line or payload, with room for the last command. */
export const maxLineBytes = 15_000;

export function makeRuntime(deps: { readonly socketPath: string; readonly clock: Clock }): Runtime {
  const { socketPath } = deps;

  const dialogue = makeDialogue(deps);

  const exchange = async (lines: readonly string[], signal: AbortSignal): Promise<readonly string[]> => {
    const answers = splitAnswers(await dialogue(`prompt\n${lines.join('')}quit\n`, signal));
    if (answers === undefined) throw new RuntimeError(`${socketPath}: closed within an answer`);
    return answers;
  };

  const ask: Runtime['ask'] = async (commands, signal) => {
    if (commands.length === 0) return [];
    const lines = [...packLines(commands, maxLineBytes)].map((line) => `${line.join(';')}\n`);
    const answers = await exchange(lines, signal);
    if (answers.length !== commands.length)
      throw new RuntimeError(`${socketPath}: ${answers.length} answers to ${commands.length} commands`);
    return answers;
  };

  return {
    ask,
    perform: async (commands, signal) => {
      for (const [index, answer] of (await ask(commands, signal)).entries()) {
        if (!isSuccess(answer)) throw new CommandRefusedError(commands[index] ?? '', answer);
      }
    },
    replaceMap: async (map, entries, signal) => {
      const [created = ''] = await ask([`prepare map ${map}`], signal);
      const [, version] = /^New version created: (\d+)$/.exec(created) ?? [];
      if (version === undefined) throw new CommandRefusedError(`prepare map ${map}`, created);
      const head = `add map @${version} ${map}`;
      const payloads = [...packLines(linesOf(entries), maxLineBytes)];
      const added = await exchange(
        payloads.map((lines) => `${head} <<\n${lines.join('')}\n`),
        signal,
      );
      const refusal = added.find((answer) => answer !== '');
      if (refusal !== undefined) throw new CommandRefusedError(head, refusal);
      const [committed = ''] = await ask([`commit map @${version} ${map}`], signal);
      if (committed !== '') throw new CommandRefusedError(`commit map @${version} ${map}`, committed);
    },
    untilClosed: (signal) => untilClosed(createConnection({ path: socketPath }), signal),
  };
}

function* linesOf(entries: ReadonlyMap<string, string>): Generator<string> {
  for (const [key, value] of entries) yield entryLine({ key, value });
}

function untilClosed(socket: Socket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      socket.destroy();
    };
    socket.on('error', () => undefined); // `close` follows
    socket.on('close', () => {
      signal.removeEventListener('abort', end);
      resolve();
    });
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}

/** Groups of `parts` that are, with a separator each, no longer than `maxLength`. A longer part goes alone. */
export function* packLines(parts: Iterable<string>, maxLength: number): Generator<readonly string[]> {
  let line: string[] = [];
  let length = 0;
  for (const part of parts) {
    if (line.length > 0 && length + part.length + 1 > maxLength) {
      yield line;
      line = [];
      length = 0;
    }
    line.push(part);
    length += part.length + 1;
  }
  if (line.length > 0) yield line;
}

/**
 * The answers in an interactive dialogue: after the prompt that `prompt` itself gives, each ends with one; a line of a
 * payload gives a `+ `. `undefined` when the dialogue broke off.
 */
export function splitAnswers(dialogue: string): readonly string[] | undefined {
  const parts = dialogue.split('\n> ');
  if (parts.length < 2 || parts.at(0) !== '' || parts.at(-1) !== '') return undefined;
  return parts.slice(1, -1).map((part) => part.replace(/^(?:\+ )+/, '').replace(/\n$/, ''));
}

const successes = ['New server registered.', 'Server deleted.', 'IP changed from ', 'no need to change the addr'];

/** Commands that change something answer nothing, but for these. */
export function isSuccess(answer: string): boolean {
  return answer === '' || successes.some((prefix) => answer.startsWith(prefix));
}

import { createConnection, type Socket } from 'node:net';
import type { Clock } from '../../ports/clock.ts';
import { CommandRefusedError, RuntimeError } from './errors.ts';
import { type Entry, entryLine } from './rows.ts';

/**
 * HAProxy's runtime API on the worker's socket (management guide, 9.3). One connection per line of commands: HAProxy
 * closes it after the last answer, so an answer can never be taken for another one's, and after a reload the next
 * line reaches the new worker (an open connection stays with the old one, where commands succeed and change nothing).
 */
export type Runtime = {
  /** Sends the commands in order, as few lines as possible; their answers, without the final newline. */
  ask(commands: readonly string[], signal: AbortSignal): Promise<readonly string[]>;
  /** As `ask`; throws {@link CommandRefusedError} for the first answer that does not mean success. */
  perform(commands: readonly string[], signal: AbortSignal): Promise<void>;
  /** Replaces all entries of a map at once: no connection sees a part of it. */
  replaceMap(map: string, entries: Iterable<Entry>, signal: AbortSignal): Promise<void>;
  /** Resolves when the process closes the connection, normally by dying; at once when nobody listens. */
  untilClosed(signal: AbortSignal): Promise<void>;
};

/** Below `tune.bufsize` (16 kB), which bounds one line or payload, with room for the last command. */
const maxLineBytes = 15_000;
const answerDeadlineMs = 5000;

export function makeRuntime(deps: { readonly socketPath: string; readonly clock: Clock }): Runtime {
  const { socketPath, clock } = deps;

  const exchange = (line: string, signal: AbortSignal): Promise<string> =>
    new Promise((resolve, reject) => {
      const deadline = clock.deadline(answerDeadlineMs, signal);
      const chunks: Buffer[] = [];
      const socket = createConnection({ path: socketPath, signal: deadline });
      socket.on('connect', () => socket.write(`${line}\n`));
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
      socket.on('error', (error) => {
        reject(signal.aborted ? signal.reason : new RuntimeError(`${socketPath}: ${error.message}`, { cause: error }));
      });
    });

  const ask: Runtime['ask'] = async (commands, signal) => {
    const answers: string[] = [];
    for (const line of packLines(commands, maxLineBytes)) {
      const got = splitAnswers(await exchange(line.join(';'), signal));
      if (got.length !== line.length)
        throw new RuntimeError(`${socketPath}: ${got.length} answers to ${line.length} commands`);
      answers.push(...got);
    }
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
      for (const lines of packLines(linesOf(entries), maxLineBytes)) {
        const answer = (await exchange(`add map @${version} ${map} <<\n${lines.join('')}`, signal)).trim();
        if (answer !== '') throw new CommandRefusedError(`add map @${version} ${map}`, answer);
      }
      const [committed = ''] = await ask([`commit map @${version} ${map}`], signal);
      if (committed !== '') throw new CommandRefusedError(`commit map @${version} ${map}`, committed);
    },
    untilClosed: (signal) => untilClosed(createConnection({ path: socketPath }), signal),
  };
}

function* linesOf(entries: Iterable<Entry>): Generator<string> {
  for (const entry of entries) yield entryLine(entry);
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

/** HAProxy ends each command's output with an empty line, and takes care that no output holds one. */
export function splitAnswers(text: string): readonly string[] {
  const answers: string[] = [];
  let start = 0;
  while (start < text.length) {
    const end = text.startsWith('\n', start) ? start : text.indexOf('\n\n', start);
    if (end < 0) break; // cut short: the caller misses an answer
    answers.push(text.slice(start, end));
    start = end === start ? end + 1 : end + 2;
  }
  return answers;
}

const successes = ['New server registered.', 'Server deleted.', 'IP changed from ', 'no need to change the addr'];

/** Commands that change something answer nothing, but for these. */
export function isSuccess(answer: string): boolean {
  return answer === '' || successes.some((prefix) => answer.startsWith(prefix));
}

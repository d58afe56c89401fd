import { createConnection, type Socket } from 'node:net';
import { systemWords } from '../../../async/error-words.ts';
import { destroyOnAbort } from '../../../async/destroy-on-abort.ts';
import { oneLine } from '../../../core/text.ts';
import type { Clock } from '../../../ports/clock.ts';
import { entryLine } from '../config/entries.ts';

/**
 * A socket of HAProxy cannot be used. `absent`: no process listens there; `silent`: no answer in time; `broken`: the
 * connection ended within an answer, or the answer has an unknown form.
 */
export class RuntimeError extends Error {
  override readonly name = 'RuntimeError';
  readonly code = 'HAPROXY_UNREACHABLE';
  readonly how: 'absent' | 'silent' | 'broken';
  constructor(how: RuntimeError['how'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.how = how;
  }
}

/** For `catch`: an absent process is an expected result. Throws any other error, including a silent process. */
export function unlessGone(error: unknown): undefined {
  if (!(error instanceof RuntimeError) || error.how === 'silent') throw error;
}

/** For `catch`: no usable answer is an expected result. Throws any other error. */
export function unlessUnreachable(error: unknown): undefined {
  if (!(error instanceof RuntimeError)) throw error;
}

/** Unix sockets, as a client. */
export type Sockets = {
  /**
   * Sends `text` over a new connection and resolves with the complete answer when the peer closes it. Throws
   * {@link RuntimeError}; `silent` after three seconds.
   */
  request(path: string, text: string, signal: AbortSignal): Promise<string>;
  /** Resolves when the peer closes a connection, normally by exiting; at once if no process listens. */
  untilClosed(path: string, signal: AbortSignal): Promise<void>;
  /** A connection for several questions, opened by the first. */
  connect(path: string): RuntimeConnection;
};

/** One question at a time. */
export type RuntimeConnection = {
  /**
   * Sends `text` and resolves with the answer, which ends with prompt number `prompts`. After an error, which is as of `request`, the
   * connection is closed.
   */
  exchange(text: string, prompts: number, signal: AbortSignal): Promise<string>;
  close(): void;
};

const answerMs = 3000;
const absent = new Set(['ENOENT', 'ECONNREFUSED']);

export function unixSockets({ clock }: { readonly clock: Clock }): Sockets {
  return {
    request: (path, text, signal) =>
      new Promise((resolve, reject) => {
        const deadline = clock.deadline(answerMs, signal);
        const chunks: Buffer[] = [];
        const socket = createConnection({ path });
        destroyOnAbort(socket, deadline.signal);
        socket.on('close', () => deadline[Symbol.dispose]());
        socket.on('connect', () => socket.write(text));
        socket.on('data', (chunk) => chunks.push(chunk));
        socket.on('error', (error) =>
          reject(signal.aborted ? signal.reason : failureOf(path, error, deadline.signal.aborted)),
        );
        socket.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
      }),
    untilClosed: (path, signal) =>
      new Promise((resolve) => {
        const socket = createConnection({ path });
        destroyOnAbort(socket, signal);
        socket.on('error', () => undefined); // `close` follows
        socket.on('close', () => resolve());
      }),
    connect: (path) => makeConnection(path, clock),
  };
}

/** The error of a request that the socket has ended, or that was ended after the time for an answer. */
function failureOf(path: string, error: NodeJS.ErrnoException, isLate: boolean): RuntimeError {
  // EAGAIN: the queue of connections that are not accepted is full.
  const isSilent = isLate || error.code === 'EAGAIN';
  const how = isSilent ? 'silent' : absent.has(error.code ?? '') ? 'absent' : 'broken';
  const cause = error.code === 'EPIPE' ? 'HAProxy has closed the connection' : systemWords(error);
  const words = isSilent ? `no answer within ${answerMs / 1000} s` : cause;
  return new RuntimeError(how, `${path}: ${words}`, { cause: error });
}

export const promptText = '\n> ';

function makeConnection(path: string, clock: Clock): RuntimeConnection {
  let socket: Socket | undefined;
  let pending:
    | { readonly prompts: number; readonly resolve: (text: string) => void; readonly reject: (error: Error) => void }
    | undefined;
  let text = '';
  const closed = new Error('closed within an answer');
  const open = (): Socket => {
    const opened = createConnection({ path });
    opened.setEncoding('utf8');
    opened.on('data', (part) => {
      text += String(part);
      if (pending === undefined || !text.endsWith(promptText) || text.split(promptText).length <= pending.prompts)
        return;
      pending.resolve(text);
    });
    opened.on('error', (error) => pending?.reject(error));
    opened.on('close', () => pending?.reject(closed));
    return opened;
  };
  return {
    exchange: async (question, prompts, signal) => {
      signal.throwIfAborted();
      using deadline = clock.deadline(answerMs, signal);
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      const stop = (): void => reject(deadline.signal.reason as Error);
      deadline.signal.addEventListener('abort', stop, { once: true });
      if (deadline.signal.aborted) stop();
      text = '';
      pending = { prompts, resolve, reject };
      try {
        socket ??= open();
        if (socket.destroyed) reject(closed);
        else socket.write(question);
        return await promise;
      } catch (error) {
        socket?.destroy();
        throw signal.aborted ? signal.reason : failureOf(path, error as NodeJS.ErrnoException, deadline.signal.aborted);
      } finally {
        pending = undefined;
      }
    },
    close: () => void socket?.destroy(),
  };
}

/** The sockets of a process in `folder` or, where none listens there, those of the same names in `earlier`. */
export function inEither(folder: string, earlier: string, sockets: Sockets): Sockets {
  const earlierOf = (path: string): string => `${earlier}${path.slice(folder.length)}`;
  const isAbsent = (error: unknown): boolean => error instanceof RuntimeError && error.how === 'absent';
  /** What `first` resolves with or, where none listens, `second`; the error of `first` if none listens there either. */
  const either = async <T>(first: () => Promise<T>, second: () => Promise<T>): Promise<T> => {
    try {
      return await first();
    } catch (error) {
      if (!isAbsent(error)) throw error;
      return await second().catch((other: unknown) => {
        throw isAbsent(other) ? error : other;
      });
    }
  };
  return {
    request: (path, text, signal) =>
      either(
        () => sockets.request(path, text, signal),
        () => sockets.request(earlierOf(path), text, signal),
      ),
    untilClosed: async (path, signal) => {
      await sockets.untilClosed(path, signal);
      if (!signal.aborted) await sockets.untilClosed(earlierOf(path), signal);
    },
    connect: (path) => {
      let open = sockets.connect(path);
      return {
        exchange: (text, prompts, signal) =>
          either(
            () => open.exchange(text, prompts, signal),
            () => {
              open = sockets.connect(earlierOf(path));
              return open.exchange(text, prompts, signal);
            },
          ),
        close: () => open.close(),
      };
    },
  };
}

/**
 * HAProxy's runtime API on the worker's socket (management guide, 9.3), in interactive mode, where a prompt ends each
 * answer. (In the other mode an empty line ends it, but not after every refusal: 2.6 omits it after those of `del
 * server`.) One connection per call, so that answers of different calls cannot be confused, and a call after a reload
 * reaches the new worker: an open connection stays with the old one, where commands succeed without effect.
 *
 * All methods throw {@link RuntimeError}.
 */
export type RuntimeApi = {
  /** Sends the commands in order, in as few lines as possible; their answers, without the final newline. */
  ask(commands: readonly string[], signal: AbortSignal): Promise<readonly string[]>;
  /**
   * Like `ask`, for commands that change something; returns the refusals, by the index of the command, with HAProxy's
   * message.
   */
  perform(commands: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<number, string>>;
  /**
   * Replaces all entries of a map atomically. False if HAProxy refused a part: the map is unchanged then.
   */
  replaceMap(map: string, entries: ReadonlyMap<string, string>, signal: AbortSignal): Promise<boolean>;
};

/** Below `tune.bufsize` (16 kB), which limits a line or payload, with room for the last command. */
export const maxLineBytes = 15_000;

export function makeRuntimeApi(deps: { readonly sockets: Sockets; readonly path: string }): RuntimeApi {
  const { sockets, path } = deps;

  const exchange = async (lines: readonly string[], signal: AbortSignal): Promise<readonly string[]> => {
    const answers = splitAnswers(await sockets.request(path, `prompt\n${lines.join('')}quit\n`, signal));
    if (answers === undefined) throw new RuntimeError('broken', `${path}: closed within an answer`);
    return answers;
  };

  const ask: RuntimeApi['ask'] = async (commands, signal) => {
    if (commands.length === 0) return [];
    const lines = [...packLines(commands, maxLineBytes)].map((line) => `${line.join(';')}\n`);
    const answers = await exchange(lines, signal);
    if (answers.length !== commands.length)
      throw new RuntimeError('broken', `${path}: ${answers.length} answers to ${commands.length} commands`);
    return answers;
  };

  return {
    ask,
    perform: async (commands, signal) => {
      const answers = await ask(commands, signal);
      const refused = Array.from(answers.entries()).filter(([, answer]) => !isSuccess(answer));
      return new Map(refused.map(([index, answer]) => [index, oneLine(answer)]));
    },
    replaceMap: async (map, entries, signal) => {
      const [created = ''] = await ask([`prepare map ${map}`], signal);
      const [, version] = /^New version created: (\d+)$/.exec(created) ?? [];
      if (version === undefined) return false;
      const head = `add map @${version} ${map}`;
      const payloads = [...packLines(linesOf(entries), maxLineBytes)];
      const added = await exchange(
        payloads.map((lines) => `${head} <<\n${lines.join('')}\n`),
        signal,
      );
      if (added.some((answer) => answer !== '')) return false; // a version that is never committed has no effect
      const [committed = ''] = await ask([`commit map @${version} ${map}`], signal);
      return committed === '';
    },
  };
}

function* linesOf(entries: ReadonlyMap<string, string>): Generator<string> {
  for (const [key, value] of entries) yield entryLine({ key, value });
}

/** Groups of `parts` that are, with a separator each, no longer than `maxLength`. A longer part forms its own group. */
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
 * The answers in an interactive dialogue: after the prompt that `prompt` itself prints, each answer ends with a prompt;
 * each line of a payload prints a `+ `. `undefined` if the dialogue was interrupted.
 */
export function splitAnswers(dialogue: string): readonly string[] | undefined {
  const parts = dialogue.split(promptText);
  if (parts.length < 2 || parts.at(0) !== '' || parts.at(-1) !== '') return undefined;
  return parts.slice(1, -1).map((part) => copyOf(part.replace(/^(?:\+ )+/, '').replace(/\n$/, '')));
}

/** V8 keeps a whole text in memory while a part of it is kept: a backend's name would keep the map of all listeners. */
function copyOf(text: string): string {
  return Buffer.from(text).toString();
}

const successes = ['New server registered.', 'Server deleted.', 'IP changed from ', 'no need to change the addr'];

/** Commands that change something have an empty answer, with these exceptions. */
export function isSuccess(answer: string): boolean {
  return answer === '' || successes.some((prefix) => answer.startsWith(prefix));
}

import { parseJson } from '../core/parse-json.ts';

/** A program that ended with a non-zero code, could not be started, or exceeded its deadline. */
export class ExecError extends Error {
  override readonly name = 'ExecError';
  readonly code = 'EXEC_FAILED';
  /** The program, without arguments that may hold secrets. */
  readonly command: string;
  /** `undefined` if it did not start or a signal ended it. */
  readonly exitCode: number | undefined;
  readonly stderr: string;
  /** There is no such program. */
  readonly isMissing: boolean;
  constructor(
    command: string,
    exitCode: number | undefined,
    stderr: string,
    { isMissing = false, ...options }: ErrorOptions & { readonly isMissing?: boolean } = {},
  ) {
    super(
      `${command}: ${stderr.trim() || (exitCode === undefined ? 'did not run' : `exit code ${exitCode}`)}`,
      options,
    );
    this.command = command;
    this.exitCode = exitCode;
    this.stderr = stderr;
    this.isMissing = isMissing;
  }
}

/** The JSON that a program has answered. Throws {@link ExecError} for any other text. */
export function jsonAnswer(program: string, text: string): unknown {
  const value = parseJson(text);
  if (value === undefined) throw new ExecError(program, undefined, 'the answer is not JSON');
  return value;
}

/** A part of the answer of a program, as `schema` reads it. Throws {@link ExecError} if it has another form. */
export function decodedAnswer<T>(
  program: string,
  schema: { safeParse(value: unknown): { readonly success: true; readonly data: T } | { readonly success: false } },
  value: unknown,
): T {
  const found = schema.safeParse(value);
  if (!found.success) throw new ExecError(program, undefined, 'the answer has another form than expected');
  return found.data;
}

/** For `catch`: returns the error of a program that exited with an error code, which is an answer; throws any other error. */
export function refusalOf(error: unknown): ExecError {
  if (error instanceof ExecError && error.exitCode !== undefined) return error;
  throw error;
}

export type ExecOptions = {
  readonly stdin?: string;
  readonly signal: AbortSignal;
  /** Ends the program after this time; default 10,000 ms. */
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
};

/** A program that keeps running and communicates over its pipes. Disposing ends it. */
export type RunningProgram = AsyncDisposable & {
  readonly pid: number;
  /** Writes to its standard input; rejects when the pipe is closed. */
  write(text: string): Promise<void>;
  /** Lines of its standard output, without the newline; ends when the program does. */
  readonly lines: AsyncIterable<string>;
  /** Its standard error since the last call, with all that it wrote before the last of `lines` that was read. */
  takeErrors(): Promise<string>;
  /** Resolves with the exit code when it has ended, for any reason. */
  readonly exited: Promise<number | undefined>;
};

/** Runs programs: an argument list, never a shell string. */
export type Exec = {
  /** Runs to the end; throws {@link ExecError} unless the exit code is 0. */
  run(
    file: string,
    args: readonly string[],
    options: ExecOptions,
  ): Promise<{ readonly stdout: string; readonly stderr: string }>;
  /** Starts a program to communicate with; it ends with `signal`. */
  spawn(file: string, args: readonly string[], signal: AbortSignal): RunningProgram;
};

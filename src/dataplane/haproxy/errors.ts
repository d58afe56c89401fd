/** HAProxy refused a configuration; it was not put in force. `words`: what HAProxy itself said. */
export class ConfigRefusedError extends Error {
  override readonly name = 'ConfigRefusedError';
  readonly code = 'HAPROXY_CONFIG_REFUSED';
  readonly words: string;
  constructor(words: string, options?: ErrorOptions) {
    super(`HAProxy refuses its configuration: ${words}`, options);
    this.words = words;
  }
}

/** The runtime API gave another answer than the one that means success. */
export class CommandRefusedError extends Error {
  override readonly name = 'CommandRefusedError';
  readonly code = 'HAPROXY_COMMAND_REFUSED';
  readonly command: string;
  readonly answer: string;
  constructor(command: string, answer: string) {
    super(`HAProxy refuses "${command}": ${answer}`);
    this.command = command;
    this.answer = answer;
  }
}

/** The runtime API could not be reached, or fell silent: the process is gone, going, or hangs. */
export class RuntimeError extends Error {
  override readonly name = 'RuntimeError';
  readonly code = 'HAPROXY_UNREACHABLE';
}

/** For `catch`: nobody answers, which is an answer, too. Throws any other error. */
export function unlessUnreachable(error: unknown): undefined {
  if (!(error instanceof RuntimeError)) throw error;
}

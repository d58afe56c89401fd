/** HAProxy refused a configuration, which is not in force. `words`: what HAProxy itself said, on one line. */
export class ConfigRefusedError extends Error {
  override readonly name = 'ConfigRefusedError';
  readonly code = 'HAPROXY_CONFIG_REFUSED';
  readonly words: string;
  constructor(words: string, options?: ErrorOptions) {
    super(`HAProxy rejected the configuration; the previous one stays active: ${words}`, options);
    this.words = words;
  }
}

/** Another program listens on the port that HAProxy needs. */
export class PortHeldError extends Error {
  override readonly name = 'PortHeldError';
  readonly code = 'HAPROXY_PORT_HELD';
  constructor(program: string, pid: number, port: number) {
    super(`port ${port} of 127.0.0.1 is held by ${program}${pid === 0 ? '' : ` (process ${pid})`}: stop that program`);
  }
}

/** The runtime API cannot be reached or does not answer: the process is gone, ending, or hangs. */
export class RuntimeError extends Error {
  override readonly name = 'RuntimeError';
  readonly code = 'HAPROXY_UNREACHABLE';
}

/** For `catch`: no answer is an answer, too. Throws any other error. */
export function unlessUnreachable(error: unknown): undefined {
  if (!(error instanceof RuntimeError)) throw error;
}

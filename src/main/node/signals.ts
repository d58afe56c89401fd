import type { Log } from '../../ports/log.ts';

/** The signals that end furiwake: in order at the first one, at once at the second. Aborts with a {@link SignalError}. */
export function endBySignal(): AbortSignal {
  const ending = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (ending.signal.aborted) process.exit(1);
      ending.abort(new SignalError(name));
    });
  }
  return ending.signal;
}

export class SignalError extends Error {
  override readonly name = 'SignalError';
  readonly code = 'SIGNAL';
  constructor(name: string) {
    super(`interrupted by ${name}`);
  }
}

/**
 * The signals that do not end furiwake. SIGHUP is a request to read files again, and is also sent when a terminal is
 * closed. SIGUSR1 would open Node's debugger, to which any local user can connect: a listener prevents it. SIGUSR2
 * means something to HAProxy alone.
 */
export function otherSignals(): {
  /** From now on they are logged, and `reload` is called at each SIGHUP. */
  readonly attend: (log: Log, reload: () => void) => void;
} {
  let attendant: { readonly log: Log; readonly reload: () => void } | undefined;
  process.on('SIGHUP', () => {
    attendant?.log.info({}, 'SIGHUP: reading the credentials again');
    attendant?.reload();
  });
  for (const name of ['SIGUSR1', 'SIGUSR2'] as const)
    process.on(name, () => attendant?.log.info({}, `${name} ignored: it has no meaning for furiwake`));
  return {
    attend: (log, reload) => {
      attendant = { log, reload };
    },
  };
}

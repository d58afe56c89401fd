/** The command line cannot be understood: exit code 2. The message says what, where and what to do, on one line. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'USAGE';
}

/** What was asked for cannot be done here and now: exit code 1. The message says what, where and what to do. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly code = 'START';
}

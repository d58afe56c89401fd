/**
 * The command line or the environment is not valid: exit code 2. One line that says what is wrong, where, and what to
 * do.
 */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'USAGE';
}

/** The command cannot be carried out: exit code 1. One line that says what is wrong, where, and what to do. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly code = 'START';
}

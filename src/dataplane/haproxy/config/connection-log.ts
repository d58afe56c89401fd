/** The ring buffer of the worker that has a line for each connection, and its size: some six thousand lines. */
export const connectionRing = { name: 'connections', bytes: 1_048_576, lineBytes: 512 } as const;

/**
 * A line of it, and of a syslog server (configuration manual, 8.2.4). HAProxy writes it when the connection ends; in HTTP mode for each
 * request.
 */
export const connectionFormat: string = [
  'time=%Ts.%ms',
  'client=%ci',
  'port=%cp',
  'listener=%[var(sess.listener)]',
  'server=%si:%sp',
  'queue=%Tw',
  'connect=%Tc',
  'total=%Tt',
  'in=%U',
  'out=%B',
  'end=%ts',
  'retries=%rc',
].join(' ');

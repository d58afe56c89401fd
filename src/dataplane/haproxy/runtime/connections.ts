import type { ListenerKey } from '../../../core/model/names.ts';
import { ipOf } from '../../../core/ip/ip.ts';
import type { EndedConnection } from '../../../ports/proxy.ts';
import { type ConnectionField, connectionFields, connectionRing } from '../config/connection-log.ts';
import type { RuntimeApi } from './client.ts';

const linePattern = new RegExp(
  String.raw`^(?=(?:time=)?\d+\.\d{3} )${connectionFields.map((name) => `(?:${name}=)?(?<${name}>\\S+)`).join(' ')}$`,
);

/**
 * The last connections that ended, the latest last: at most `most`, of these listeners, or of all. Those before the start of the worker,
 * or its reload, are not known. Throws `RuntimeError` if HAProxy does not answer.
 */
export async function readConnections(
  api: Pick<RuntimeApi, 'ask'>,
  { keys, most }: { readonly keys: ReadonlySet<ListenerKey> | undefined; readonly most: number },
  signal: AbortSignal,
): Promise<readonly EndedConnection[]> {
  const [answer = ''] = await api.ask([`show events ${connectionRing.name}`], signal);
  const found: EndedConnection[] = [];
  const lines = answer.split('\n');
  for (let index = lines.length - 1; index >= 0 && found.length < most; index--) {
    const connection = parseConnection(lines[index] ?? '');
    if (connection !== undefined && keys?.has(connection.listener) !== false) found.push(connection);
  }
  return found.toReversed();
}

/** `undefined`: not a line of the ring buffer, in either of its formats. */
export function parseConnection(line: string): EndedConnection | undefined {
  const found = linePattern.exec(line)?.groups;
  if (found === undefined) return undefined;
  const fields = found as Readonly<Record<ConnectionField, string>>;
  const { end, server } = fields;
  const colon = server.lastIndexOf(':');
  const serverPort = server.slice(colon + 1);
  const hasServer = serverPort !== '-';
  return {
    atMs: Math.round(Number(fields.time) * 1000),
    client: { address: addressText(fields.client), port: Number(fields.port) },
    listener: `${fields.listener}|TCP` as ListenerKey,
    server: hasServer ? { address: addressText(server.slice(0, colon)), port: Number(serverPort) } : undefined,
    queueMs: knownMs(fields.queue),
    connectMs: knownMs(fields.connect),
    totalMs: Math.max(0, Number(fields.total)),
    bytesIn: Number(fields.in),
    bytesOut: Number(fields.out),
    retries: Number(fields.retries),
    end,
    words: end === 'SC' && !hasServer ? 'no server was available' : endWords(end),
  };
}

/** Of the digits in the ring buffer's own format, or the text itself. */
function addressText(field: string): string {
  if (!/^[\dA-F]{8}(?:[\dA-F]{24})?$/.test(field)) return field;
  return ipOf(field.length === 8 ? 4 : 6, BigInt(`0x${field}`)).text;
}

/** -1: the connection ended before. */
function knownMs(field: string): number | undefined {
  const ms = Number(field);
  return ms < 0 ? undefined : ms;
}

const whole: Readonly<Record<string, string>> = {
  '--': 'closed',
  SC: 'the server refused it',
  sC: 'no server answered',
  sQ: 'no server was free in time',
  PR: 'the request was not valid HTTP',
  PH: 'the answer of the server was not valid HTTP',
};

const causes: Readonly<Record<string, string>> = {
  C: 'the client aborted it',
  S: 'the server aborted it',
  c: 'the client was idle for too long',
  s: 'the server was idle for too long',
  D: 'the server went down',
  K: 'furiwake ended it',
  P: 'refused',
  R: 'HAProxy had no resources left',
  I: 'an error in HAProxy',
};

const phases: Readonly<Record<string, string>> = {
  Q: ' while it waited for a server',
  C: ' before a server answered',
  R: ' before a request',
  H: ' before the answer to the request',
};

/** What the two characters of a session's state at its end mean (configuration manual, 8.5). */
function endWords(end: string): string {
  const [cause = '', phase = ''] = end;
  return whole[end] ?? `${causes[cause] ?? `ended (${end})`}${phases[phase] ?? ''}`;
}

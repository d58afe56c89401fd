import type { ListenerKey } from '../../../core/model/names.ts';
import type { EndedConnection } from '../../../ports/proxy.ts';
import { connectionRing } from '../config/connection-log.ts';
import type { RuntimeApi } from './client.ts';

const linePattern = new RegExp(
  [
    /^time=(?<seconds>\d+)\.(?<ms>\d{3})/,
    /client=(?<client>\S+)/,
    /port=(?<clientPort>\d+)/,
    /listener=(?<listener>\S+)/,
    /server=(?<server>\S+):(?<serverPort>-|\d+)/,
    /queue=(?<queue>-?\d+)/,
    /connect=(?<connect>-?\d+)/,
    /total=(?<total>-?\d+)/,
    /in=(?<in>\d+)/,
    /out=(?<out>\d+)/,
    /end=(?<end>\S+)/,
    /retries=\+?(?<retries>\d+)$/,
  ]
    .map(({ source }) => source)
    .join(' '),
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

/** `undefined`: not a line of `connectionFormat`. */
export function parseConnection(line: string): EndedConnection | undefined {
  const fields = linePattern.exec(line)?.groups;
  if (fields === undefined) return undefined;
  const number = (name: string): number => Number(fields[name]);
  const { client = '', listener, server = '', end = '' } = fields;
  const hasServer = server !== '-';
  return {
    atMs: number('seconds') * 1000 + number('ms'),
    client: { address: client, port: number('clientPort') },
    listener: `${listener}|TCP` as ListenerKey,
    server: hasServer ? { address: server, port: number('serverPort') } : undefined,
    queueMs: knownMs(number('queue')),
    connectMs: knownMs(number('connect')),
    totalMs: Math.max(0, number('total')),
    bytesIn: number('in'),
    bytesOut: number('out'),
    retries: number('retries'),
    end,
    words: end === 'SC' && !hasServer ? 'no server was available' : endWords(end),
  };
}

/** -1: the connection ended before. */
function knownMs(ms: number): number | undefined {
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

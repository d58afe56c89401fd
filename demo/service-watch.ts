import type { Lab } from '../lab/lab.ts';

/** A state of a Service from `kubectl get --watch`, with its time (ms, monotonic). */
export type ServiceEvent = {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly name: string;
  readonly isDeleting: boolean;
  readonly addresses: readonly string[];
  readonly at: number;
};

const columns = [
  '{.type}',
  '{.object.metadata.name}',
  '{.object.metadata.deletionTimestamp}',
  '{.object.status.loadBalancer.ingress[*].ip}',
];

/** Follows the Services of a namespace as an administrator would: with kubectl. */
export async function* watchServices(
  lab: Lab,
  namespace: string,
  signal: AbortSignal,
): AsyncGenerator<ServiceEvent, void> {
  const output = `jsonpath=${columns.join('|')}{"\\n"}`; // not tabs: kubectl converts them to columns
  const argv = [
    'kubectl',
    'get',
    'services',
    '--namespace',
    namespace,
    '--watch',
    '--output-watch-events',
    '--output',
    output,
  ];
  for await (const line of lab.host('cp').lines(argv, signal)) {
    const event = decodeEvent(line, performance.now());
    if (event !== undefined) yield event;
  }
}

/** Reads one line of that watch; bookmarks and errors are `undefined`. */
export function decodeEvent(line: string, at: number): ServiceEvent | undefined {
  const [type, name = '', deletion, addresses = ''] = line.split('|');
  if (type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED') return undefined;
  return { type, name, isDeleting: Boolean(deletion), addresses: addresses.split(' ').filter(Boolean), at };
}

/** The next event for which `isIt` is true; skips earlier ones. */
export async function nextEvent(
  events: AsyncIterator<ServiceEvent, void>,
  isIt: (event: ServiceEvent) => boolean,
): Promise<ServiceEvent> {
  for (;;) {
    const { value } = await events.next();
    if (value === undefined) throw new Error('the watch of Services has ended');
    if (isIt(value)) return value;
  }
}

import type { NodeName } from '../model/names.ts';
import type { Dataplane } from './dataplane.ts';
import type { TrafficTable } from './table.ts';

/** The dataplanes that send flows to the node past HAProxy, in the order of their names. */
export function pastHaproxy(
  { listeners, backends }: Pick<TrafficTable, 'listeners' | 'backends'>,
  node: NodeName,
): readonly Dataplane[] {
  const found = new Set<Dataplane>();
  for (const { dataplane, standIn = dataplane, backend } of listeners.values()) {
    const others = [dataplane, standIn].filter((each) => each !== 'haproxy' && !found.has(each));
    if (others.length === 0) continue;
    if (backends.get(backend)?.servers.some((server) => server.node === node) === true)
      for (const each of others) found.add(each);
  }
  return [...found].toSorted();
}

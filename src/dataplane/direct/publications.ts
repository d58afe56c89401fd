import type { ListenerKey } from '../../core/model/names.ts';
import type { TrafficTable } from '../../core/traffic/table.ts';
import type { GatedListener } from '../../ports/gate.ts';

/**
 * Since when each listener is published, as this host sees it. Those of the first table were published before this process
 * started, or so long ago that it makes no difference.
 */
export function makePublications(
  monotonic: () => number,
): (listeners: TrafficTable['listeners']) => ReadonlyMap<ListenerKey, GatedListener> {
  let known: ReadonlyMap<ListenerKey, GatedListener & { readonly service: string }> | undefined;
  return (listeners) => {
    const since = known === undefined ? -Infinity : monotonic();
    known = new Map(
      Array.from(listeners, ([key, { address, service, isPublished }]) => {
        const before = known?.get(key);
        const isSame = before?.service === service && before.publishedMs !== undefined;
        const publishedMs = isPublished ? (isSame ? before.publishedMs : since) : undefined;
        return [key, { family: address.family, publishedMs, service }];
      }),
    );
    return known;
  };
}

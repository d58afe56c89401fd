import { makeTrouble } from '../async/trouble.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Store } from './store.ts';
import type { WatchEvent } from './watch-event.ts';

/** Feeds a watch into a store until the watch ends (its signal aborts). `what` names it in the log: `watching services`. */
export async function feedStore<T>(
  store: Store<T>,
  events: AsyncIterable<WatchEvent<T>>,
  { what, clock, log }: { readonly what: string; readonly clock: Clock; readonly log: Log },
): Promise<void> {
  const trouble = makeTrouble({ what, log, monotonic: () => clock.monotonic() });
  for await (const event of events) {
    store.feed(event);
    if (event.type === 'error') {
      // Every watch gets a 410 at some time: after a restart of the API server, or a long interruption. Not twice in a row.
      if (event.error.code === 'expired' && event.retryInMs === 0)
        log.info({ err: event.error }, `${what}: reading all objects again`);
      else trouble.failed(event.error, { reason: event.error.code });
    } else if (event.type === 'apply' || event.type === 'delete' || event.type === 'bookmark') trouble.over();
    if (event.type === 'undecodable')
      log.warn({ key: event.key, err: event.error }, 'object cannot be decoded; keeping its last readable state');
  }
}

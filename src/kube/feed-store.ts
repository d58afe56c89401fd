import type { Log } from '../ports/log.ts';
import type { Store } from './store.ts';
import type { WatchEvent } from './watch-event.ts';

/** Feeds a watch into a store until the watch ends (its signal aborts); says once per trouble what the matter is. */
export async function feedStore<T>(store: Store<T>, events: AsyncIterable<WatchEvent<T>>, log: Log): Promise<void> {
  for await (const event of events) {
    store.feed(event);
    if (event.type === 'error') logTrouble(event, log);
    else if (event.type === 'undecodable')
      log.warn({ key: event.key, err: event.error }, 'object cannot be read; its last readable state stays in force');
    else if (event.type === 'initDone') log.debug({ objects: store.objects().size }, 'in step with the API server');
  }
}

function logTrouble({ error, retryInMs }: WatchEvent<never> & { type: 'error' }, log: Log): void {
  const fields = { reason: error.code, err: error, retryInMs: Math.round(retryInMs) };
  // Both belong to the normal life of a watch.
  if (error.code === 'expired' || error.code === 'idle') log.info(fields, 'watch begins again');
  else log.warn(fields, 'watch interrupted');
}

import type { Log } from '../ports/log.ts';
import type { Store } from './store.ts';
import type { WatchErrorCode, WatchEvent } from './watch-event.ts';

/** Feeds a watch into a store until the watch ends (its signal aborts). A trouble that lasts is told once. */
export async function feedStore<T>(store: Store<T>, events: AsyncIterable<WatchEvent<T>>, log: Log): Promise<void> {
  let trouble: WatchErrorCode | undefined;
  for await (const event of events) {
    store.feed(event);
    if (event.type === 'error') {
      const { error, retryInMs } = event;
      const fields = { reason: error.code, err: error, retryInMs: Math.round(retryInMs) };
      if (error.code === trouble) log.debug(fields, 'watch still interrupted');
      else if (belongsToLife.has(error.code)) log.info(fields, 'watch begins again');
      else log.warn(fields, 'watch interrupted');
      trouble = error.code;
    } else if (event.type !== 'init') trouble = undefined;
    if (event.type === 'undecodable')
      log.warn({ key: event.key, err: event.error }, 'object cannot be read; its last readable state stays in force');
    else if (event.type === 'initDone') log.debug({ objects: store.objects().size }, 'in step with the API server');
  }
}

/** Interruptions of which no watch is spared. */
const belongsToLife: ReadonlySet<WatchErrorCode> = new Set(['expired', 'idle']);

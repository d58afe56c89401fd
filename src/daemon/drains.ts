import * as z from 'zod';
import { makeSerial } from '../async/serial.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { fileVersions } from '../state/file-versions.ts';
import { makeMapFile } from '../state/map-file.ts';

/** The nodes, or the Services, that an administrator drained; they stay drained across restarts. */
export type Drains<K extends string> = {
  current(): ReadonlySet<K>;
  /**
   * Writes the change to the disk before it takes effect. Throws the system's error if that fails; then nothing
   * changes.
   */
  set(key: K, isDrained: boolean): Promise<void>;
  /** Calls `listener` after each change; returns the end of the subscription. */
  subscribe(listener: () => void): () => void;
};

/** A line of each file: `{"node":"n1"}`, `{"service":"shop/web"}`. */
const kinds: Readonly<
  Record<'node' | 'service', { readonly name: string; readonly version: number; readonly without: string }>
> = {
  node: {
    name: 'drains',
    version: fileVersions.drains,
    without: 'no node counts as drained; drain again those that should be',
  },
  service: {
    name: 'drained-services',
    version: fileVersions.drainedServices,
    without: 'no Service counts as drained; drain again those that should be',
  },
};

export async function loadDrains<K extends string>(deps: {
  readonly kind: keyof typeof kinds;
  readonly path: string;
  readonly files: Files;
  readonly log: Log;
}): Promise<Drains<K>> {
  const { kind } = deps;
  const schema = z.record(z.literal(kind), z.string().min(1));
  const file = makeMapFile<K, true>({
    ...deps,
    ...kinds[kind],
    encode: (_, key) => ({ [kind]: key }),
    decode: (fields) => [schema.parse(fields)[kind] as K, true],
  });
  const serial = makeSerial();
  let drained = (await file.read()) ?? PersistentMap.empty<K, true>();
  let current: ReadonlySet<K> = new Set(drained.keys());
  const subscribers = makeSubscribers();
  return {
    current: () => current,
    set: (key, isDrained) =>
      serial(async () => {
        if (current.has(key) === isDrained) return;
        const next = drained.with([[key, isDrained ? true : undefined]]);
        await file.write(next);
        drained = next;
        current = new Set(next.keys());
        subscribers.tell();
      }),
    subscribe: subscribers.subscribe,
  };
}

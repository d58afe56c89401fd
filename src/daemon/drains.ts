import * as z from 'zod';
import { makeSerial } from '../async/serial.ts';
import type { NodeName } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { makeMapFile } from '../state/map-file.ts';

/** The nodes that an administrator drained; they stay drained across restarts. */
export type Drains = {
  current(): ReadonlySet<NodeName>;
  /**
   * Writes the change to the disk before it takes effect. Throws the system's error if that fails; then nothing
   * changes.
   */
  set(node: NodeName, isDrained: boolean): Promise<void>;
  /** Calls `listener` after each change; returns the end of the subscription. */
  subscribe(listener: () => void): () => void;
};

const schema = z.object({ node: z.string().min(1) });

export async function loadDrains(deps: {
  readonly path: string;
  readonly files: Files;
  readonly log: Log;
}): Promise<Drains> {
  const file = makeMapFile<NodeName, true>({
    ...deps,
    name: 'drains',
    version: 1,
    without: 'no node counts as drained; drain again those that should be',
    encode: (_, node) => ({ node }),
    decode: (fields) => [schema.parse(fields).node as NodeName, true],
  });
  const serial = makeSerial();
  let drained = (await file.read()) ?? PersistentMap.empty<NodeName, true>();
  let current: ReadonlySet<NodeName> = new Set(drained.keys());
  const listeners = new Set<() => void>();
  return {
    current: () => current,
    set: (node, isDrained) =>
      serial(async () => {
        if (current.has(node) === isDrained) return;
        const next = drained.with([[node, isDrained ? true : undefined]]);
        await file.write(next);
        drained = next;
        current = new Set(next.keys());
        for (const listener of listeners) listener();
      }),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

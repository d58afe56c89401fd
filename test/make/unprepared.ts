import type { ListenerKey } from '../../src/core/model/names.ts';
import type { Unprepared } from '../../src/ports/proxy.ts';

/** HAProxy refuses these listeners, in these words, and prepares the others. */
export function refusing(...refused: readonly (readonly [ListenerKey | undefined, string])[]): Unprepared {
  return {
    refused: new Map(refused.flatMap(([key, words]) => (key === undefined ? [] : [[key, words]]))),
    deferred: new Map(),
  };
}

export const allPrepared: Unprepared = refusing();

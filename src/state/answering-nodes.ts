import * as z from 'zod';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { makeMapFile } from './map-file.ts';

const schema = z.object({ node: z.string().min(1), family: z.literal([4, 6]) });

/** The nodes that were shown to answer clients themselves, each with the family: `n1 4`. Throws `NewerFileError`. */
export async function readAnsweringNodes(deps: {
  readonly path: string;
  readonly files: Files;
  readonly log: Log;
}): Promise<{ readonly known: ReadonlySet<string>; write(hops: ReadonlySet<string>): Promise<void> }> {
  const file = makeMapFile<string, true>({
    ...deps,
    name: 'answering-nodes',
    version: 1,
    without: 'each node is probed again before direct uses it for a Service that did not request direct',
    encode: (_, hop) => {
      const at = hop.lastIndexOf(' ');
      return { node: hop.slice(0, at), family: Number(hop.slice(at + 1)) };
    },
    decode: (fields) => {
      const { node, family } = schema.parse(fields);
      return [`${node} ${family}`, true];
    },
  });
  const known = (await file.read()) ?? PersistentMap.empty<string, true>();
  return {
    known: new Set(known.keys()),
    write: (hops) => file.write(PersistentMap.from(Array.from(hops, (hop) => [hop, true]))),
  };
}

import * as z from 'zod';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { makeMapFile } from './map-file.ts';
import { fileVersions } from './file-versions.ts';

const schema = z.object({ node: z.string().min(1), family: z.literal([4, 6]), address: z.string(), mac: z.string() });

/** The nodes by `n1 4`, with the family; the address and MAC of each. */
type Shown = ReadonlyMap<string, { readonly address: string; readonly mac: string }>;

/** The nodes that were shown to answer clients themselves. Throws `NewerFileError`. */
export async function readAnsweringNodes(deps: {
  readonly path: string;
  readonly files: Files;
  readonly log: Log;
}): Promise<{ readonly known: Shown; write(known: Shown): Promise<void> }> {
  const file = makeMapFile<string, { readonly address: string; readonly mac: string }>({
    ...deps,
    name: 'answering-nodes',
    version: fileVersions.answeringNodes,
    without: 'each node is probed again before direct uses it for a Service that did not request direct',
    encode: (shown, hop) => {
      const at = hop.lastIndexOf(' ');
      return { node: hop.slice(0, at), family: Number(hop.slice(at + 1)), ...shown };
    },
    decode: (fields) => {
      const { node, family, ...shown } = schema.parse(fields);
      return [`${node} ${family}`, shown];
    },
  });
  return {
    known: new Map((await file.read()) ?? []),
    write: (known) => file.write(PersistentMap.from(known)),
  };
}

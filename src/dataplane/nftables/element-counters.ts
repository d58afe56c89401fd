import * as z from 'zod';
import type { Exec } from '../../ports/exec.ts';
import { listSets } from './list-sets.ts';
import { concatText } from './listing.ts';
import type { TableSpec } from './table-text.ts';

/** What the kernel has counted at an element of a set. Bytes from the IP header on. */
export type ElementCounter = { readonly packets: number; readonly bytes: number };

const counter = z.object({ packets: z.number(), bytes: z.number() });
const answer = z.object({
  nftables: z.array(
    z.object({
      set: z
        .object({
          name: z.string(),
          elem: z.array(z.object({ elem: z.object({ val: z.unknown(), counter }) })).optional(),
        })
        .optional(),
    }),
  ),
});

/**
 * Reads sets whose elements count, in nft's own text of their keys; a set that the kernel does not have is empty. Throws
 * `ExecError` if nft cannot run.
 */
export async function readElementCounters<Name extends string>(
  exec: Exec,
  table: Pick<TableSpec, 'name' | 'sets'>,
  sets: readonly Name[],
  signal: AbortSignal,
): Promise<Readonly<Record<Name, ReadonlyMap<string, ElementCounter>>>> {
  const counters = Object.fromEntries(sets.map((set) => [set, new Map()])) as Record<Name, Map<string, ElementCounter>>;
  for (const json of await listSets(exec, table, sets, signal))
    for (const { set } of answer.parse(JSON.parse(json)).nftables)
      for (const { elem } of set?.elem ?? []) counters[set?.name as Name].set(concatText(elem.val), elem.counter);
  return counters;
}

import * as z from 'zod';
import type { ServiceKey, ServiceUid } from '../core/model/names.ts';
import { parseJson } from '../core/parse-json.ts';
import type { Files } from '../ports/files.ts';

const recordSchema = z.object({ uid: z.string(), service: z.string() });

/**
 * The UIDs of the Services in the ledger, for the table of release 0.1.0, which has none. Without them each listener would become
 * that of another Service at the first plan, and lose what is kept for the one of before. `paths`: the ledger of 0.1.0 and that of
 * now, of which one exists.
 */
export async function readEarlierUids(
  files: Pick<Files, 'read'>,
  paths: readonly string[],
): Promise<ReadonlyMap<ServiceKey, ServiceUid>> {
  const texts = await Promise.all(paths.map((path) => files.read(path).catch(() => undefined))); // the ledger itself logs errors
  const lines = texts.flatMap((text) => text?.split('\n') ?? []);
  const uids = new Map<ServiceKey, ServiceUid>();
  for (const line of lines) {
    const { data } = recordSchema.safeParse(parseJson(line));
    if (data !== undefined) uids.set(data.service as ServiceKey, data.uid as ServiceUid);
  }
  return uids;
}

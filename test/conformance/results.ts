import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { readIfThere } from '../../lab/machine/files.ts';
import type { Outcome } from './ginkgo.ts';

/** The last end of a case, kept from one run of the command to the next. */
export type Result = Outcome & {
  /** The tested furiwake: the first digits of the SHA-256 of its bundle. */
  readonly furiwake: string;
};

const schema: z.ZodType<readonly Result[]> = z.array(
  z.object({
    name: z.string(),
    verdict: z.enum(['passed', 'failed', 'skipped']),
    seconds: z.number(),
    why: z.string(),
    furiwake: z.string(),
  }),
);

/** The last result of each case, by its full name, in the file `results.json`. */
export type Results = {
  read(): Promise<ReadonlyMap<string, Result>>;
  /** Replaces the result of that case, in one step: an interrupted command loses no other. */
  put(result: Result): Promise<void>;
  clear(): Promise<void>;
};

export function makeResults(folder: string): Results {
  const file = path.join(folder, 'results.json');
  const read = async (): Promise<ReadonlyMap<string, Result>> => {
    const all = schema.parse(JSON.parse((await readIfThere(file)) ?? '[]'));
    return new Map(all.map((result) => [result.name, result]));
  };
  return {
    read,
    put: async (result) => {
      const all = [...new Map([...(await read()), [result.name, result]]).values()];
      await mkdir(folder, { recursive: true });
      await writeFile(`${file}.new`, `${JSON.stringify(all, undefined, 1)}\n`);
      await rename(`${file}.new`, file);
    },
    clear: () => rm(file, { force: true }),
  };
}

import * as z from 'zod';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { makeMapFile, UnreadableFileError } from './map-file.ts';
import { fileVersions } from './file-versions.ts';

/** The name of this host in the Lease, on the disk: a file with one entry. */
export type IdentityFile = {
  /** `undefined` where there is none; a damaged line is skipped and logged. Throws `NewerFileError`, `UnreadableFileError`. */
  read(): Promise<string | undefined>;
  /** Does nothing when the name was read from the file. */
  write(name: string): Promise<void>;
};

const schema = z.object({ name: z.string().min(1) });

export function makeIdentityFile(deps: {
  readonly path: string;
  /** Of release 0.1.0: the name and nothing else. */
  readonly earlierPath: string;
  readonly files: Files;
  readonly log: Log;
}): IdentityFile {
  const { earlierPath, files } = deps;
  const file = makeMapFile<'identity', string>({
    ...deps,
    name: 'identity',
    version: fileVersions.identity,
    encode: (name) => ({ name }),
    decode: (fields) => ['identity', schema.parse(fields).name],
  });
  let saved: string | undefined;
  return {
    read: async () => {
      saved = (await file.read())?.get('identity');
      if (saved !== undefined) return saved;
      const earlier = await files.read(earlierPath).catch((error: unknown) => {
        throw new UnreadableFileError(earlierPath, error);
      });
      return earlier?.trim() || undefined;
    },
    write: async (name) => {
      if (name === saved) return;
      await file.write(PersistentMap.from([['identity', name]]));
      saved = name;
      await files.remove(earlierPath);
    },
  };
}

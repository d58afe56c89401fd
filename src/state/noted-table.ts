import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import type { TableFile } from './table.ts';

/**
 * The file of the last table, with a note below `/run` while the disk lacks changes that the host has: read as missing then, because it
 * would return addresses that were released and clients that were excluded. A reboot removes the note.
 */
export function makeNotedTableFile(
  file: TableFile,
  { notePath, files, log }: { readonly notePath: string; readonly files: Files; readonly log: Log },
): TableFile {
  /** An earlier process may have left it. */
  let mayBeNoted = true;
  return {
    read: async () => {
      const table = await file.read();
      if (!(await files.exists(notePath))) return table;
      log.warn(
        {},
        'the last changes could not be saved before furiwake ended: the last table is not restored; furiwake waits for the API server',
      );
      return undefined;
    },
    write: async (table) => {
      try {
        await file.write(table);
      } catch (error) {
        mayBeNoted = true;
        await files.write(notePath, '').catch(() => undefined); // the caller retries, and says why
        throw error;
      }
      if (mayBeNoted) await files.remove(notePath);
      mayBeNoted = false;
    },
  };
}

import { constants } from 'node:fs';
import { appendFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import type { Files } from '../../ports/files.ts';

/** Files on this machine's disk. */
export const systemFiles: Files = {
  read: async (path) => {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  },
  write: async (path, text, mode = 0o600) => {
    const temporary = `${path}.new`;
    await writeFile(temporary, text, { mode });
    await rename(temporary, path);
  },
  append: async (path, text) => {
    await appendFile(path, text, { flag: constants.O_WRONLY | constants.O_APPEND }); // not `a`: it would make a new one
  },
  remove: (path) => rm(path, { force: true, recursive: true }),
  makeFolder: async (path, mode = 0o700) => {
    await mkdir(path, { recursive: true, mode });
  },
};

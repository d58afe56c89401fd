import { constants } from 'node:fs';
import {
  appendFile,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import type { Files } from '../../ports/files.ts';

/** Files on this machine's disk. */
export const systemFiles: Files = {
  read: async (file) => {
    await refuseNamedPipe(file);
    return await unlessMissing(readFile(file, 'utf8'), undefined);
  },
  readStart: async (file, bytes) => {
    await using handle = await unlessMissing(open(file, constants.O_RDONLY), undefined);
    if (handle === undefined) return undefined;
    const buffer = Buffer.alloc(bytes);
    let length = 0;
    // A file of /proc gives a page at a time.
    for (let read = -1; read !== 0 && length < bytes; length += read)
      read = (await handle.read(buffer, length, bytes - length)).bytesRead;
    return buffer.toString('utf8', 0, length);
  },
  // Without fsync, which would delay each address by milliseconds or more; `sync` does that.
  write: async (file, text, mode = 0o600) => {
    const temporary = `${file}.new`;
    await writeFile(temporary, text, { mode });
    await rename(temporary, file);
  },
  append: async (file, text) => {
    await appendFile(file, text, { flag: constants.O_WRONLY | constants.O_APPEND }); // not `a`, which would create a file
  },
  sync: async (file) => {
    await using handle = await open(file, constants.O_RDWR);
    await handle.datasync();
    await using folder = await open(path.dirname(file), constants.O_RDONLY | constants.O_DIRECTORY);
    await folder.sync(); // the name, which `write` moved to another file
  },
  exists: async (file) => {
    try {
      return (await unlessMissing(lstat(file), undefined)) !== undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOTDIR') throw error;
      return false;
    }
  },
  stat: async (file) => {
    const found = await unlessMissing(stat(file), undefined);
    return found && { isFolder: found.isDirectory(), uid: found.uid, mode: found.mode & 0o7777 };
  },
  list: async (folder) => (await unlessMissing<string[], string[]>(readdir(folder), [])).sort(),
  remove: (file) => rm(file, { force: true, recursive: true }),
  makeFolder: (folder, mode = 0o700) => makeFolder(folder, mode),
};

/** Opening one waits for a writer, without end, and so does the process that wants to exit. A pipe of a shell, `<(…)`, has a writer. */
async function refuseNamedPipe(file: string): Promise<void> {
  const found = await unlessMissing(stat(file), undefined);
  if (found?.isFIFO() !== true) return;
  const hasPath = await unlessMissing(realpath(file), undefined);
  if (hasPath !== undefined) throw Object.assign(new Error(`${file} is a named pipe`), { code: 'NAMED_PIPE' });
}

async function unlessMissing<T, D>(found: Promise<T>, byDefault: D): Promise<T | D> {
  try {
    return await found;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return byDefault;
  }
}

/** Not with `recursive: true`, with which Node tries forever if no folder can be created, as below /proc. */
async function makeFolder(folder: string, mode: number): Promise<void> {
  const isMissingParent = await mkdir(folder, { mode }).then(
    () => false,
    async (error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST' && (await stat(folder)).isDirectory()) return false;
      if (error.code !== 'ENOENT') throw error;
      return true;
    },
  );
  if (!isMissingParent) return;
  await makeFolder(path.dirname(folder), mode);
  await mkdir(folder, { mode });
}

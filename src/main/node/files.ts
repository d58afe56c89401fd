import { constants } from 'node:fs';
import {
  appendFile,
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { systemWords } from '../../async/error-words.ts';
import { FileError, type Files } from '../../ports/files.ts';

const nodeFiles = {
  read: async (file) => {
    await using handle = await openToRead(file);
    if (handle === undefined) return undefined;
    return (await handle.stat()).isFIFO() ? await readPipe(handle, file) : await handle.readFile('utf8');
  },
  readStart: async (file, bytes) => {
    await using handle = await openToRead(file);
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
    const flag = constants.O_WRONLY | constants.O_APPEND; // not `a`, which would create a file
    await appendFile(file, text, { flag });
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
} satisfies Files;

/** Node names the call and, for some errors, the file. */
const told =
  <A extends readonly unknown[], T>(verb: string, work: (file: string, ...rest: A) => Promise<T>) =>
  (file: string, ...rest: A): Promise<T> =>
    work(file, ...rest).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === undefined) throw cause;
      throw new FileError(`cannot ${verb} ${file}`, { code: cause.code, words: systemWords(cause), cause });
    });

/** Files on this machine's disk. */
export const systemFiles: Files = {
  read: told('read', nodeFiles.read),
  readStart: told('read', nodeFiles.readStart),
  write: told('write', nodeFiles.write),
  append: told('write', nodeFiles.append),
  sync: told('flush', nodeFiles.sync),
  exists: told('find', nodeFiles.exists),
  stat: told('find', nodeFiles.stat),
  list: told('read', nodeFiles.list),
  remove: told('remove', nodeFiles.remove),
  makeFolder: told('create', nodeFiles.makeFolder),
};

/** Without waiting for the writer of a named pipe: the thread that waits would never end. */
function openToRead(file: string): Promise<FileHandle | undefined> {
  return unlessMissing(open(file, constants.O_RDONLY | constants.O_NONBLOCK), undefined);
}

const pipePauseMs = 20;
const pipeMs = 5_000;

/** All that a process writes to a pipe, such as that of `--kubeconfig <(command)`. */
async function readPipe(handle: FileHandle, file: string): Promise<string> {
  const parts: Buffer[] = [];
  const buffer = Buffer.alloc(65_536);
  for (let waitedMs = 0; waitedMs < pipeMs;) {
    const length = await handle.read(buffer).then(
      ({ bytesRead }) => bytesRead,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EAGAIN') throw error;
        return undefined;
      },
    );
    if (length === 0) return Buffer.concat(parts).toString();
    if (length === undefined) {
      await setTimeout(pipePauseMs);
      waitedMs += pipePauseMs;
    } else parts.push(Buffer.from(buffer.subarray(0, length)));
  }
  throw new Error(`${file} is a pipe that has not ended within ${pipeMs / 1_000} s`);
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

import { readFile, readdir } from 'node:fs/promises';

/** A file's text, `undefined` if there is no such file. */
export async function readIfThere(file: string): Promise<string | undefined> {
  return orIfAbsent(readFile(file, 'utf8'), undefined);
}

/** Names in a folder, none if there is no such folder. */
export async function namesIn(folder: string): Promise<readonly string[]> {
  return orIfAbsent<readonly string[]>(readdir(folder), []);
}

async function orIfAbsent<T>(reading: Promise<T>, instead: T): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return instead;
  }
}

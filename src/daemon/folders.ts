import { type Exec, ExecError } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import { StartError } from './errors.ts';

const writableByOthers = 0o022;

/** Throws {@link StartError} unless only root can create files in the folder. */
export async function assertPrivate(files: Pick<Files, 'stat'>, folder: string): Promise<void> {
  const found = await files.stat(folder);
  if (found === undefined || !found.isFolder) throw new StartError(`${folder} is not a folder`);
  if (found.uid === 0 && (found.mode & writableByOthers) === 0) return;
  throw new StartError(
    `${folder} is not safe: users other than root can change its files (owner ${found.uid}, mode ${found.mode.toString(8)}). Run: chown root ${folder} && chmod 700 ${folder}`,
  );
}

/** Removes the folders that are empty, in this order: inner folders first. */
export async function removeEmptyFolders(exec: Exec, folders: readonly string[]): Promise<void> {
  await exec.run('rmdir', folders, { signal: new AbortController().signal }).catch((error: unknown) => {
    if (!(error instanceof ExecError)) throw error; // not empty, or missing
  });
}

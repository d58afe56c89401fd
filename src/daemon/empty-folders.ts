import { type Exec, ExecError } from '../ports/exec.ts';

/** Removes the folders that are empty, in this order: inner folders first. */
export async function removeEmptyFolders(exec: Exec, folders: readonly string[]): Promise<void> {
  await exec.run('rmdir', folders, { signal: new AbortController().signal }).catch((error: unknown) => {
    if (!(error instanceof ExecError)) throw error; // not empty, or missing
  });
}

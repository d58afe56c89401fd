import path from 'node:path';
import { type Exec, ExecError } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import { StartError } from './errors.ts';

/**
 * The state directory, made if it is not there. Disposing takes away what was made and is empty still: a furiwake that
 * could not start leaves nothing. Throws {@link StartError} when it cannot be made.
 */
export async function openStateDir(
  { files, exec }: { readonly files: Files; readonly exec: Exec },
  stateDir: string,
): Promise<AsyncDisposable> {
  const made: string[] = [];
  for (let each = stateDir; each !== '/' && !(await isThere(files, each)); each = path.dirname(each)) made.push(each);
  await files.makeFolder(stateDir).catch((error: unknown) => refuseStateDir(stateDir, error));
  return {
    [Symbol.asyncDispose]: async () => {
      if (made.length === 0) return;
      await exec.run('rmdir', made, { signal: new AbortController().signal }).catch((error: unknown) => {
        if (!(error instanceof ExecError)) throw error; // something is in it: it is needed
      });
    },
  };
}

/** A folder cannot be read as a file, which is as good as being there. */
async function isThere(files: Files, folder: string): Promise<boolean> {
  return files.read(folder).then(
    (text) => text !== undefined,
    () => true,
  );
}

/** For `catch`: the system's errors of what is written below the state directory become one line; others stay. */
export function refuseStateDir(stateDir: string, error: unknown): never {
  if (!(error instanceof Error) || !('errno' in error)) throw error;
  throw new StartError(
    `--state-dir: ${stateDir} cannot be used (${error.message}): it must be a folder in which files and sockets can be made`,
    { cause: error },
  );
}

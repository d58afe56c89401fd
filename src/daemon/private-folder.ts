import type { Files } from '../ports/files.ts';
import { StartError } from './errors.ts';

/** Throws {@link StartError} unless only root can create files in the folder. */
export async function assertPrivate(files: Pick<Files, 'stat'>, folder: string): Promise<void> {
  const found = await files.stat(folder);
  if (found === undefined || !found.isFolder) throw new StartError(`${folder} is not a folder`);
  if (found.uid === 0 && (found.mode & writableByOthers) === 0) return;
  throw new StartError(
    `${folder} is not safe: users other than root can change its files (owner ${found.uid}, mode ${found.mode.toString(8)}). Run: chown root ${folder} && chmod 700 ${folder}`,
  );
}

const writableByOthers = 0o022;

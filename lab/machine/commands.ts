import { existsSync } from 'node:fs';
import path from 'node:path';

/** The program folders of Debian's packages. */
export const systemFolders: readonly string[] = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** The path of a command: in PATH, or in the `sbin` folders that a user's PATH may lack. */
export function findCommand(
  name: string,
  folders: readonly string[] = [...(process.env['PATH'] ?? '').split(':'), '/usr/local/sbin', ...systemFolders],
): string | undefined {
  return folders.map((folder) => path.join(folder, name)).find((file) => path.isAbsolute(file) && existsSync(file));
}

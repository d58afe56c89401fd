import { existsSync } from 'node:fs';
import path from 'node:path';

/** Where Debian's packages put programs. */
export const systemFolders: readonly string[] = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** Where a command is: in PATH, or in the `sbin` folders that a user's PATH may lack. */
export function findCommand(
  name: string,
  folders: readonly string[] = [...(process.env['PATH'] ?? '').split(':'), '/usr/local/sbin', ...systemFolders],
): string | undefined {
  return folders.map((folder) => path.join(folder, name)).find((file) => path.isAbsolute(file) && existsSync(file));
}

import type { Files } from '../ports/files.ts';

/** The account of HAProxy's package; workers need no permissions once they listen. `undefined`: it does not exist. */
export async function haproxyAccount(
  files: Files,
): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  const line = /^haproxy:[^:]*:(\d+):(\d+):/m.exec((await files.read('/etc/passwd')) ?? '');
  return line === null ? undefined : { uid: Number(line[1]), gid: Number(line[2]) };
}

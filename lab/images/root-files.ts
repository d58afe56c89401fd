import { readFile, realpath } from 'node:fs/promises';
import { LabError } from '../errors.ts';
import { run } from '../machine/run.ts';
import type { TarEntry } from './ustar.ts';

/** The common files of all images. */
export const baseFiles: readonly TarEntry[] = [
  { path: 'tmp', mode: 0o1777 },
  ...['proc', 'sys', 'dev', 'etc', 'root', 'run', 'var/run', 'var/log'].map((path) => ({ path, mode: 0o755 })),
  textFile('etc/passwd', 'root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n'),
  textFile('etc/group', 'root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n'),
  textFile('etc/nsswitch.conf', 'hosts: files dns\n'),
];

export function textFile(path: string, text: string, mode = 0o644): TarEntry {
  return { path, mode, content: [Buffer.from(text)] };
}

/** A file of this machine (or its target), at `place` (absolute) in the image. */
export async function machineFile(place: string, file: string, mode = 0o755): Promise<TarEntry> {
  return { path: place.slice(1), mode, content: [await readFile(await realpath(file))] };
}

/**
 * Programs of this machine with the shared libraries that they load.
 *
 * @param programs place in the image (absolute) → file on this machine, dynamically linked.
 * @throws LabError `PACKAGES_MISSING` if a library is not on this machine.
 */
export async function programFiles(
  programs: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<readonly TarEntry[]> {
  const libraries = await librariesOf([...programs.values()], signal);
  return Promise.all(
    [...programs, ...libraries.map((file) => [file, file] as const)].map(([place, file]) => machineFile(place, file)),
  );
}

/** The shared libraries of all files, under the paths where the dynamic linker looks for them. */
async function librariesOf(files: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
  const { stdout } = await run(['ldd', ...files], { signal });
  const lines = stdout.split('\n').filter((line) => line.startsWith('\t')); // the others name the files
  const missing = lines.find((line) => line.includes('not found'));
  if (missing !== undefined) throw new LabError('PACKAGES_MISSING', `a shared library is missing: ${missing.trim()}`);
  const libraries = lines.flatMap((line) => line.split(/\s+/).find((word) => word.startsWith('/')) ?? []);
  return [...new Set(libraries)];
}

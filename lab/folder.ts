import { rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { LabError } from './errors.ts';
import { namesIn, readIfThere } from './machine/files.ts';
import type { Size } from './network/address-plan.ts';

/** The state of a lab in its folder. */
export type LabRecord = {
  readonly size: Size;
  /** `false` until everything runs. */
  readonly isUp: boolean;
};

const prefix = 'furiwake-lab-';
const namePattern = /^[a-z][a-z0-9]{0,15}$/;

/**
 * Checks a lab's name: it becomes part of network namespaces' names.
 * @throws LabError `BAD_OPTION`
 */
export function checkName(name: string): string {
  if (namePattern.test(name)) return name;
  throw new LabError(
    'BAD_OPTION',
    `${JSON.stringify(name)} is not a valid name for a lab`,
    'Use 1 to 16 of a-z and 0-9, a letter first.',
  );
}

/**
 * The folder of a lab: below the temporary folder, which hosts share with the machine.
 * @throws LabError `BAD_OPTION` if the hosts cannot see it.
 */
export function folderOf(name: string): string {
  const folder = path.join(path.resolve(tmpdir()), prefix + checkName(name));
  const hidden = ['/run', '/etc', '/opt', '/var/lib', '/var/log'].find((place) => folder.startsWith(`${place}/`));
  if (hidden === undefined) return folder;
  throw new LabError(
    'BAD_OPTION',
    `the lab's folder ${folder} is below ${hidden}, of which each host has its own`,
    'Set TMPDIR to another folder.',
  );
}

/** Names of the labs that have a folder. */
export async function labsWithFolders(): Promise<readonly string[]> {
  const names = await namesIn(tmpdir());
  return names
    .filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length))
    .filter((name) => namePattern.test(name));
}

export async function writeLabRecord(folder: string, record: LabRecord): Promise<void> {
  const file = path.join(folder, 'lab.json');
  await writeFile(`${file}.new`, `${JSON.stringify(record)}\n`);
  await rename(`${file}.new`, file);
}

/** `undefined` if there is no such lab. */
export async function readLabRecord(folder: string): Promise<LabRecord | undefined> {
  const text = await readIfThere(path.join(folder, 'lab.json'));
  return text === undefined ? undefined : (JSON.parse(text) as LabRecord);
}

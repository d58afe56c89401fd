import path from 'node:path';
import * as z from 'zod';
import { isSystemError, systemWords } from '../async/error-words.ts';
import { makeBackoff, waitLimits } from '../async/backoff.ts';
import { makeTrouble, type Trouble } from '../async/trouble.ts';
import { parseJson } from '../core/parse-json.ts';
import type { Clock } from '../ports/clock.ts';
import type { Exec } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { fileVersions } from '../state/file-versions.ts';
import { assertFileVersion } from '../state/map-file.ts';
import { StartError } from './errors.ts';
import { assertPrivate, removeEmptyFolders } from './folders.ts';
import { earlierStatePaths, statePaths } from './platform.ts';

/*
 * A state directory has a marker file. furiwake neither writes to a folder without it nor deletes anything there, so
 * that a `--state-dir` that names a foreign folder (/etc, /var/lib) does no harm.
 */
const markerName = 'furiwake-state';
const version = 1;
const markerText = `${JSON.stringify({ file: markerName, version })}\n`;
const markerSchema = z.object({ file: z.literal(markerName), version: z.int() });

/** What to do about a folder of another program. */
const advice = {
  run: 'name an empty or new folder, or that of an earlier furiwake run',
  cleanup: 'name the --state-dir of furiwake run',
};

/** Of release 0.1.0: host name and random UUID. */
const earlierIdentity = /^\S+_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\s*$/;
/** Of release 0.1.0: a line with a Service. */
const earlierRecord = /^{"uid":"[^"]+","service":"[^"]+\/[^"]+","addresses":\[/m;
/** How often a running furiwake looks for its marker. */
const lookMs = 5_000;
/** How often it looks for its other files. */
const restoreMs = 30_000;

type Disk = { readonly files: Files; readonly exec: Exec };

/**
 * The state directory, created and marked if it is new. Disposing removes the created folders and files unless others
 * were added, so that a failed start leaves no trace. Throws {@link StartError} for a folder that does not belong to
 * furiwake, that other users can write to, or that cannot be created.
 */
export async function openStateDir({ files, exec }: Disk, stateDir: string): Promise<AsyncDisposable> {
  const made: string[] = [];
  for (let each = stateDir; each !== '/' && !(await files.exists(each)); each = path.dirname(each)) made.push(each);
  const marker = `${stateDir}/${markerName}`;
  try {
    await files.makeFolder(stateDir);
    await assertPrivate(files, stateDir);
    if ((await ownershipOf(files, stateDir, advice.run)) !== 'marked') await files.write(marker, markerText);
  } catch (error) {
    refuseStateDir(stateDir, error);
  }
  return {
    [Symbol.asyncDispose]: async () => {
      if (made.length === 0) return;
      if ((await files.list(stateDir)).join() === markerName) await files.remove(marker);
      await removeEmptyFolders(exec, made);
    },
  };
}

/**
 * Until `signal` aborts: marks the state directory again when it, or its marker, is lost, and calls `restore`, which writes lost files
 * again and resolves with their paths; also each half minute. Then it also logs if other users can write to it or to one of `folders`.
 * Nothing else creates the directory, so that the next start finds the
 * marker in any folder that furiwake has written to.
 */
export async function keepStateDir(
  {
    stateDir,
    folders,
    restore,
  }: {
    readonly stateDir: string;
    readonly folders: readonly string[];
    readonly restore: () => Promise<readonly string[]>;
  },
  { files, clock, log }: { readonly files: Files; readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  const marker = `${stateDir}/${markerName}`;
  const troubleWith = (what: string): Trouble => makeTrouble({ what, log, clock, level: 'error' });
  const looking = troubleWith('looking for lost files of the state directory');
  const writing = troubleWith('writing the lost state directory again');
  const guarding = troubleWith('keeping the folders of furiwake closed to other users');
  const backoff = makeBackoff(waitLimits.patient);
  let isLost = false;
  let restoredMs = clock.monotonic();

  const attempt = async (): Promise<void> => {
    if (!isLost && !(await files.exists(marker))) {
      log.error({}, `the state directory ${stateDir} was lost; furiwake writes it again, and traffic continues`);
      isLost = true;
    }
    if (isLost) {
      await files.makeFolder(stateDir);
      await files.write(marker, markerText);
    } else if (clock.monotonic() - restoredMs < restoreMs) return;
    const restored = await restore();
    if (!isLost && restored.length > 0)
      log.warn({ files: restored.join(' ') }, 'files of furiwake were removed; it wrote them again');
    isLost = false;
    restoredMs = clock.monotonic();
    try {
      for (const folder of [stateDir, ...folders]) await assertPrivate(files, folder);
      guarding.over();
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      guarding.failed(error);
    }
  };

  for (let waitMs = lookMs; ;) {
    await clock.sleep(waitMs, signal);
    try {
      await attempt();
      for (const each of [looking, writing]) each.over();
      backoff.reset();
      waitMs = lookMs;
    } catch (error) {
      signal.throwIfAborted();
      (isLost ? writing : looking).failed(error);
      waitMs = backoff.next();
    }
  }
}

/**
 * Throws {@link StartError} unless all of furiwake's files in the folder may be deleted. A missing or empty folder is
 * accepted.
 */
export async function assertDeletable({ files }: Pick<Disk, 'files'>, stateDir: string): Promise<void> {
  await ownershipOf(files, stateDir, advice.cleanup);
}

/** Deletes the files of `run` in the state directory, by name, and the folder itself if it is then empty. */
export async function deleteState({ files, exec }: Disk, stateDir: string): Promise<void> {
  await assertDeletable({ files }, stateDir);
  for (const each of [...ownPaths(stateDir), `${stateDir}/${markerName}`]) await files.remove(each);
  await removeEmptyFolders(exec, [stateDir]);
}

/**
 * Checks the state directory, and changes nothing: whether it is there, or `run` will create it. Throws
 * {@link StartError} as `run` does, and `NewerFileError`.
 */
export async function findStateDir(files: Files, stateDir: string): Promise<'present' | 'missing'> {
  if ((await files.stat(stateDir)) === undefined) return 'missing';
  await assertPrivate(files, stateDir);
  await ownershipOf(files, stateDir, advice.run);
  const { adminSocket: _, ...paths } = statePaths(stateDir);
  for (const name of Object.keys(paths) as (keyof typeof paths)[])
    await assertFileVersion(files, paths[name], fileVersions[name]);
  return 'present';
}

/**
 * `marked`: of furiwake; `earlier`: of release 0.1.0, which had no marker; `unmarked`: of a furiwake whose files were removed, and
 * that wrote some of them again and ended before it wrote the marker; `empty`: empty or missing. Throws for any other folder.
 */
async function ownershipOf(
  files: Files,
  stateDir: string,
  adviceIfForeign: string,
): Promise<'marked' | 'earlier' | 'unmarked' | 'empty'> {
  const marker = `${stateDir}/${markerName}`;
  const text = await files.read(marker).catch((error: Error) => {
    throw new StartError(
      `${marker} cannot be read (${systemWords(error)}): repair the disk or, if the folder is furiwake's, replace the marker by an empty file`,
      { cause: error },
    );
  });
  if (text !== undefined) {
    const written = markerSchema.safeParse(parseJson(text)).data;
    if (written !== undefined && written.version > version)
      throw new StartError(
        `${stateDir} belongs to a newer release of furiwake (version ${written.version}, this one knows up to version ${version}): start the newer release, or run its \`furiwake cleanup\` before going back`,
      );
    return 'marked'; // a torn marker is also valid: a crash or a full disk cut it short
  }
  const names = new Set(await files.list(stateDir));
  names.delete('lost+found'); // of a file system that is mounted here
  if (names.size === 0) return 'empty';
  if (names.has('identity') && (names.has('haproxy') || names.has('records.jsonl'))) return 'earlier';
  if (names.has('records.jsonl')) {
    const records = await files.read(`${stateDir}/records.jsonl`).catch(() => ''); // refused with the folder
    if (earlierRecord.test(records ?? '')) return 'earlier';
  }
  if (names.size === 1 && names.has('identity')) {
    const identity = await files.read(`${stateDir}/identity`).catch(() => ''); // refused with the folder
    if (earlierIdentity.test(identity ?? '')) return 'earlier'; // of a 0.1.0 that only waited for the Lease
  }
  if (await areOwnFiles(files, stateDir, names)) return 'unmarked';
  throw new StartError(
    `${stateDir} is not a furiwake state directory (no marker file) and not empty: ${adviceIfForeign}`,
  );
}

/** Whether each of these files has the name of one of furiwake's, and is its socket, is empty or begins as those do. */
async function areOwnFiles(files: Files, stateDir: string, names: ReadonlySet<string>): Promise<boolean> {
  const { adminSocket, ...paths } = statePaths(stateDir);
  const texts = new Set(Object.values(paths).flatMap((each) => [each, `${each}.new`]));
  for (const name of names) {
    const each = `${stateDir}/${name}`;
    if (each === adminSocket) continue;
    if (!texts.has(each)) return false;
    const text = await files.read(each).catch(() => undefined); // refused with the folder
    if (text === undefined || !(text === '' || text.startsWith('{"file":"'))) return false;
  }
  return true;
}

function ownPaths(stateDir: string): readonly string[] {
  const paths = [...Object.values(statePaths(stateDir)), ...Object.values(earlierStatePaths(stateDir))];
  return paths.flatMap((each) => [each, `${each}.new`]); // `.new`: a write that a crash interrupted
}

/** For `catch`: the system's errors for files below the state directory become one line; others stay. */
export function refuseStateDir(stateDir: string, error: unknown): never {
  if (!isSystemError(error)) throw error;
  throw new StartError(`--state-dir: ${stateDir} cannot be used: ${troubleOf(error)}`, {
    cause: error,
  });
}

/** Whether the disk itself refused a write to the state directory: it is full, read-only or broken. */
export function isDiskTrouble(error: unknown): boolean {
  return ['EROFS', 'ENOSPC', 'EDQUOT', 'EIO'].includes((error as NodeJS.ErrnoException).code ?? '');
}

/** With the words of the system where ours do not say it all. */
function troubleOf(error: NodeJS.ErrnoException): string {
  const { code } = error;
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'the disk is full: free some space';
  if (code === 'EROFS') return 'the file system is read-only: remount it, or choose another folder';
  return `it must be a folder in which root can create files and sockets (${systemWords(error)})`;
}

import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { ExecError } from '../../src/ports/exec.ts';
import { LabError } from '../errors.ts';
import { whileClaiming } from '../machine/claim.ts';
import { findCommand } from '../machine/commands.ts';
import type { Progress } from '../progress.ts';
import { recipeFolder } from './cache.ts';
import { compile } from './compile.ts';
import { type Download, download, readDownloads } from './downloads.ts';
import { type Binary, type Recipe, recipes as labRecipes } from './recipes.ts';

/** The lab's own programs: name → file. */
export type Binaries = ReadonlyMap<string, string>;

/** Names a folder with the user's own binaries, which take precedence over the cache. */
const binariesVariable = 'FURIWAKE_LAB_BIN';

type Wanted = { readonly recipe: Recipe; readonly binary: Binary; readonly file: string };

/**
 * Finds every binary of `recipes` (default: those of a lab): in the folder `FURIWAKE_LAB_BIN`, or in the cache, or by a download from
 * `FURIWAKE_LAB_DOWNLOADS`, or builds it once, in this order.
 *
 * Concurrent builds do not clash: the second process waits and finds the binaries of the first. A finished binary is
 * renamed to its place, so an interrupted build leaves no partial file, and the next build continues after the last
 * complete binary.
 *
 * @throws LabError `BUILD_FAILED`, `WRONG_SUM`, `PACKAGES_MISSING` (no compiler), `BAD_OPTION` (no such folder)
 */
export async function findBinaries(
  progress: Progress,
  signal: AbortSignal,
  recipes: readonly Recipe[] = labRecipes,
): Promise<Binaries> {
  const own = process.env[binariesVariable];
  if (own && !existsSync(own)) throw new LabError('BAD_OPTION', `${binariesVariable}=${own}: no such folder`);
  const wanted = (await Promise.all(recipes.map(wantedOf))).flat();
  const places = wanted.map(({ binary, file }) => {
    const given = own ? path.resolve(own, binary.name) : '';
    return [binary.name, given && existsSync(given) ? given : file] as const;
  });
  const missing = wanted.filter(({ file }, index) => places[index]?.[1] === file && !existsSync(file));
  if (missing.length > 0) await makeAll(missing, progress, signal);
  return new Map(places);
}

async function wantedOf(recipe: Recipe): Promise<Wanted[]> {
  const folder = await recipeFolder(recipe);
  return recipe.binaries.map((binary) => ({ recipe, binary, file: path.join(folder, binary.name) }));
}

async function makeAll(missing: readonly Wanted[], progress: Progress, signal: AbortSignal): Promise<void> {
  const downloads = await readDownloads();
  const isMissing = ({ file }: Wanted): boolean => !existsSync(file);
  const mustBuild = missing.filter(({ binary }) => !downloads.has(binary.name));
  assertCompilers(mustBuild);
  await whileClaiming('lab-binaries', {
    signal,
    onWait: (pid) => progress.say(`Process ${pid} is building the lab's programs; waiting for it.`),
    work: async () => {
      // Another process may have built them meanwhile.
      for (const wanted of missing.filter(isMissing)) {
        const source = downloads.get(wanted.binary.name);
        if (source !== undefined) await fetchOne(wanted, source, progress, signal);
      }
      await buildAll(missing.filter(isMissing), progress, signal);
    },
  });
}

async function fetchOne(wanted: Wanted, source: Download, progress: Progress, signal: AbortSignal): Promise<void> {
  const { binary, file } = wanted;
  using step = progress.step(`Downloading ${binary.name}`);
  const trouble = await download(source, file, step.update, signal);
  if (trouble === undefined) step.done();
  else progress.say(`${trouble}: ${binary.name} will be built.`);
}

async function buildAll(rest: readonly Wanted[], progress: Progress, signal: AbortSignal): Promise<void> {
  if (rest.length === 0) return;
  assertCompilers(rest);
  const sources = new Set(rest.map(({ recipe }) => `${recipe.name} ${recipe.version}`));
  progress.say(`Building ${[...sources].join(', ')}: once, afterwards the cache has them.`);
  if (rest.some(({ recipe }) => recipe.name === 'kubernetes')) progress.say('About 10 minutes on two cores.');
  for (const [index, wanted] of rest.entries())
    await build(wanted, `${wanted.binary.name} (${index + 1} of ${rest.length})`, progress, signal);
}

function assertCompilers(wanted: readonly Wanted[]): void {
  const lacking = [...new Set(wanted.map(({ recipe }) => recipe.compiler[0] ?? ''))].filter(
    (name) => !findCommand(name),
  );
  if (lacking.length === 0) return;
  throw new LabError(
    'PACKAGES_MISSING',
    `the lab's Kubernetes is built from source, and ${lacking.join(' and ')} is not installed`,
    `Install Go 1.26 or newer and a C compiler, or name a folder with the binaries in ${binariesVariable}.`,
  );
}

async function build(wanted: Wanted, title: string, progress: Progress, signal: AbortSignal): Promise<void> {
  using step = progress.step(`Building ${title}`);
  const { recipe, binary, file } = wanted;
  const partial = `${file}.partial`;
  await mkdir(path.dirname(file), { recursive: true });
  try {
    await compile(recipe, binary.source, partial, step.update, signal);
    await rename(partial, file);
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    const why = `building ${binary.name} failed:\n${error.stderr.trim()}`;
    throw new LabError('BUILD_FAILED', why, undefined, { cause: error });
  } finally {
    await rm(partial, { force: true });
  }
  step.done();
}

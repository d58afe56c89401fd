import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Binaries } from '../binaries/binaries.ts';
import { cacheFolder, shortHash } from '../binaries/cache.ts';
import { LabError } from '../errors.ts';
import { whileClaiming } from '../machine/claim.ts';
import { findCommand, systemFolders } from '../machine/commands.ts';
import { downloadPackages } from '../machine/packages.ts';
import { run } from '../machine/run.ts';
import type { Progress } from '../progress.ts';
import { type Image, writeImage } from './docker-archive.ts';
import { baseFiles, machineFile, programFiles, textFile } from './root-files.ts';

/** Names under which Pods find the lab's images; there is no registry, so a Pod must not insist on pulling. */
export const imageNames = {
  pause: 'registry.k8s.io/pause:3.10.2',
  agnhost: 'registry.k8s.io/e2e-test-images/agnhost:2.66.1',
  coredns: 'registry.k8s.io/coredns/coredns:v1.15.0',
  nginx: 'docker.io/library/nginx:lab',
} as const;

/** The programs that the upstream tests run in agnhost. */
const agnhostTools =
  'bash sh cat ls cp mv rm mkdir echo sleep seq date true false timeout head tail sed grep env wc sort uniq tr cut awk ' +
  'hostname id touch stat printf dd tee xargs ps ip ss curl nc dig nslookup ping';

type ImageKey = keyof typeof imageNames;
type Maker = (binaries: Binaries, signal: AbortSignal) => Promise<Omit<Image, 'name'>>;

const makers: Readonly<Record<ImageKey, Maker>> = {
  pause: (binaries) => single(binaries, 'pause'),
  coredns: (binaries) => single(binaries, 'coredns'),
  agnhost: async (binaries, signal) => {
    const image = await single(binaries, 'agnhost');
    const tools = new Map(agnhostTools.split(' ').map((name) => [`/bin/${name}`, debianProgram(name)]));
    tools.set('/bin/wget.real', debianProgram('wget'));
    // GNU wget tries 20 times; the upstream tests expect busybox's one try.
    const wget = textFile('bin/wget', '#!/bin/sh\nexec /bin/wget.real -t 1 "$@"\n', 0o755);
    return { ...image, files: [...image.files, ...(await programFiles(tools, signal)), wget] };
  },
  nginx: async (_binaries, signal) => {
    // Only unpacked, because its service would occupy port 80 of the machine.
    await using unpacked = await unpackPackages(['nginx', 'nginx-common'], signal);
    const tools = ['sh', 'cat', 'ls', 'hostname'].map((name) => [`/bin/${name}`, debianProgram(name)] as const);
    const nginx = ['/usr/sbin/nginx', path.join(unpacked.folder, 'usr/sbin/nginx')] as const;
    const kept = ['/etc/nginx/mime.types', '/usr/share/nginx/html/index.html'];
    return {
      entrypoint: ['/usr/sbin/nginx', '-g', 'daemon off;'],
      files: [
        ...baseFiles,
        { path: 'var/lib/nginx', mode: 0o755 },
        { path: 'var/log/nginx', mode: 0o755 },
        textFile('etc/nginx/nginx.conf', await readFile(path.join(import.meta.dirname, 'nginx.conf'), 'utf8')),
        ...(await Promise.all(kept.map((file) => machineFile(file, path.join(unpacked.folder, file), 0o644)))),
        ...(await programFiles(new Map([nginx, ...tools]), signal)),
      ],
    };
  },
};

/**
 * The lab's images as docker-archive files, made from the lab's own binaries and Debian's; kept in the cache.
 *
 * @returns image → file.
 */
export async function findImages(
  binaries: Binaries,
  progress: Progress,
  signal: AbortSignal,
): Promise<ReadonlyMap<ImageKey, string>> {
  const folder = path.join(cacheFolder(), `images-${process.arch}-${await recipeKey(binaries)}`);
  const files = (Object.keys(imageNames) as ImageKey[]).map((key) => [key, path.join(folder, `${key}.tar`)] as const);
  const isMissing = ([, file]: readonly [ImageKey, string]): boolean => !existsSync(file);
  const makeMissing = async (): Promise<void> => {
    await mkdir(folder, { recursive: true });
    for (const [key, file] of files.filter(isMissing)) {
      using step = progress.step(`Making image ${imageNames[key]}`);
      await writeImage(file, { name: imageNames[key], ...(await makers[key](binaries, signal)) }, signal);
      step.done();
    }
  };
  if (files.some(isMissing))
    await whileClaiming('lab-images', {
      signal,
      onWait: (pid) => progress.say(`Process ${pid} is making the lab's images; waiting for it.`),
      work: makeMissing,
    });
  return new Map(files);
}

/** Changes with the recipes in this folder and with the binaries in the images. */
async function recipeKey(binaries: Binaries): Promise<string> {
  const names = (await readdir(import.meta.dirname)).filter((name) => !name.endsWith('.test.ts')).sort();
  const recipes = names.map((name) => readFile(path.join(import.meta.dirname, name), 'utf8'));
  const programs = ['pause', 'coredns', 'agnhost'].map(async (name) => {
    const { size, mtimeMs } = await stat(binaries.get(name) ?? '');
    return `${name} ${size} ${mtimeMs}`;
  });
  return shortHash(await Promise.all([...recipes, ...programs]));
}

/** An image of nothing but one static program of the lab. */
async function single(binaries: Binaries, name: string): Promise<Omit<Image, 'name'>> {
  const place = `/${name}`;
  return { entrypoint: [place], files: [...baseFiles, await machineFile(place, binaries.get(name) ?? '')] };
}

function debianProgram(name: string): string {
  const file = findCommand(name, systemFolders);
  if (file === undefined) throw new LabError('PACKAGES_MISSING', `${name} is not installed on this machine`);
  return file;
}

async function unpackPackages(
  names: readonly string[],
  signal: AbortSignal,
): Promise<AsyncDisposable & { folder: string }> {
  await mkdir(cacheFolder(), { recursive: true });
  const folder = await mkdtemp(path.join(cacheFolder(), 'unpack-'));
  const archives = await downloadPackages(names, folder, signal);
  for (const archive of archives) await run(['dpkg-deb', '--extract', archive, folder], { signal });
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}

import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type TarEntry, tar } from './ustar.ts';

export type Image = {
  /** With registry and tag: `docker.io/library/nginx:lab`. */
  readonly name: string;
  readonly entrypoint: readonly string[];
  /** The whole file system, one layer. */
  readonly files: readonly TarEntry[];
};

/** Writes an image as `docker save` does (docker-archive), for `ctr images import`. Complete or not at all. */
export async function writeImage(file: string, image: Image, signal: AbortSignal): Promise<void> {
  const layer = [...tar(image.files)];
  const config = json({
    architecture: { x64: 'amd64' }[process.arch as string] ?? process.arch,
    os: 'linux',
    config: { Entrypoint: image.entrypoint, Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
  });
  const configName = `${sha256([config])}.json`;
  const archive = tar([
    { path: configName, mode: 0o644, content: [config] },
    { path: 'layer.tar', mode: 0o644, content: layer },
    {
      path: 'manifest.json',
      mode: 0o644,
      content: [json([{ Config: configName, RepoTags: [image.name], Layers: ['layer.tar'] }])],
    },
  ]);
  const partial = `${file}.${process.pid}.partial`;
  try {
    await pipeline(Readable.from(archive), createWriteStream(partial), { signal });
    await rename(partial, file);
  } finally {
    await rm(partial, { force: true });
  }
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function sha256(pieces: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
}

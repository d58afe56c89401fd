import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chmod, mkdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
// Node's own fetch, of 24.21, fails with an assertion if a server closes the connection while data is unread.
import { fetch } from 'undici';
import * as z from 'zod';
import { messageOf } from '../../src/async/error-words.ts';
import { ExecError } from '../../src/ports/exec.ts';
import { LabError } from '../errors.ts';
import { run } from '../machine/run.ts';

/** Names a file with the downloads of ready-made binaries ({@link Download}), by the binary's name. */
const downloadsVariable = 'FURIWAKE_LAB_DOWNLOADS';

/** A ready-made binary, or an archive with it. */
export type Download = {
  readonly url: string;
  /**
   * Of the file at `url`, in hexadecimal digits; its author has compared it with the checksum that the project
   * publishes.
   */
  readonly sha256: string;
  /** The path of the binary in it, if it is an archive for tar. */
  readonly member?: string | undefined;
};

const schema: z.ZodType<ReadonlyMap<string, Download>> = z
  .record(
    z.string(),
    z.strictObject({
      url: z.url({ protocol: /^https?$/ }),
      sha256: z.string().regex(/^[0-9a-f]{64}$/i, 'not a SHA-256 in hexadecimal digits'),
      member: z.string().regex(/^[^-]/, 'not a file of an archive').optional(),
    }),
  )
  .transform((downloads) => new Map(Object.entries(downloads)));

/** A megabyte a second is slow. */
const timeoutMs = 10 * 60_000;

/**
 * The downloads that the user configured; none by default, because a checksum that was never compared is worthless.
 * @throws LabError `BAD_OPTION`
 */
export async function readDownloads(
  file: string | undefined = process.env[downloadsVariable],
): Promise<ReadonlyMap<string, Download>> {
  if (!file) return new Map();
  try {
    return schema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    const words = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw new LabError(
      'BAD_OPTION',
      `${downloadsVariable}=${file}: ${words}`,
      'It is a JSON object: { "kubelet": { "url": "https://…", "sha256": "…" } }.',
    );
  }
}

/**
 * Downloads a binary to `output`, after checking all bytes. `tell` gets the progress.
 *
 * @returns the error of the network or the server, if there was one
 * @throws LabError `WRONG_SUM`, `BUILD_FAILED` (no such member)
 */
export async function download(
  { url, sha256, member }: Download,
  output: string,
  tell: (how: string) => void,
  signal: AbortSignal,
): Promise<string | undefined> {
  const folder = `${output}.download`;
  const whole = path.join(folder, 'whole');
  await mkdir(folder, { recursive: true });
  try {
    const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const hash = createHash('sha256');
    let bytes = 0;
    const count = new Transform({
      transform: (chunk: Buffer, _, done) => {
        hash.update(chunk);
        bytes += chunk.length;
        tell(`${(bytes / 1e6).toFixed(0)} MB`);
        done(null, chunk);
      },
    });
    try {
      const answer = await fetch(url, { signal: within });
      if (!answer.ok || answer.body === null) return `${url}: HTTP ${answer.status}`;
      await pipeline(answer.body, count, createWriteStream(whole), { signal: within });
    } catch (error) {
      signal.throwIfAborted();
      return `${url}: ${wordsOf(error)}`;
    }
    const sum = hash.digest('hex');
    if (sum !== sha256.toLowerCase())
      throw new LabError('WRONG_SUM', `${url} has the SHA-256 ${sum}, not ${sha256}: it is not used`);
    if (member !== undefined)
      await run(['tar', '--extract', '--file', whole, '--directory', folder, member], { signal });
    const binary = member === undefined ? whole : path.join(folder, member);
    await chmod(binary, 0o755);
    await rename(binary, output);
    return undefined;
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    throw new LabError('BUILD_FAILED', `${url}: ${error.stderr.trim()}`, undefined, { cause: error });
  } finally {
    await rm(folder, { force: true, recursive: true });
  }
}

function wordsOf(error: unknown): string {
  const reason: unknown = error instanceof Error ? (error.cause ?? error) : error;
  return messageOf(reason);
}

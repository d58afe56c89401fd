/** A file or folder in a tar archive. `content` may be in pieces, so that a large layer needs no copy. */
export type TarEntry = {
  /** Relative, at most 100 bytes. */
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  /** Absent for a folder. */
  readonly content?: readonly Uint8Array[];
};

const blockBytes = 512;

/**
 * A tar archive in the ustar format (POSIX.1-1988), piece by piece: root's files, without times, so the same entries
 * give the same bytes.
 *
 * @throws RangeError for a path or a size that ustar cannot hold.
 */
export function* tar(entries: Iterable<TarEntry>): Generator<Uint8Array> {
  for (const entry of entries) {
    const size = sizeOf(entry.content ?? []);
    yield header(entry, size);
    yield* entry.content ?? [];
    yield Buffer.alloc(padding(size));
  }
  yield Buffer.alloc(2 * blockBytes);
}

/** Bytes in all pieces together. */
function sizeOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

function header(entry: TarEntry, size: number): Uint8Array {
  const block = Buffer.alloc(blockBytes);
  const isFolder = entry.content === undefined;
  const path = isFolder ? `${entry.path}/` : entry.path;
  if (Buffer.byteLength(path) > 100) throw new RangeError(`path too long for ustar: ${path}`);
  if (size >= 8 ** 11) throw new RangeError(`${path}: ${size} bytes are too many for ustar`);
  block.write(path, 0);
  block.write(octal(entry.mode, 7), 100);
  block.write(octal(0, 7), 108); // owner: root
  block.write(octal(0, 7), 116); // group: root
  block.write(octal(size, 11), 124);
  block.write(octal(0, 11), 136); // modified: 1970
  block.write(isFolder ? '5' : '0', 156);
  block.write('ustar\u000000', 257);
  block.fill(' ', 148, 156); // the sum is computed with blanks in its own place
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\0 `, 148);
  return block;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}

function padding(size: number): number {
  return (blockBytes - (size % blockBytes)) % blockBytes;
}

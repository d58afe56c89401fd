import type { Writable } from 'node:stream';

/** What may wait for a reader that does not read: some thousand lines. */
export const mostWaitingBytes: number = 1024 * 1024;

/**
 * Writes to a stream whose reader may stop to read, as a pipe's: what would make it hold more than `mostBytes` is dropped, and `onRead` has
 * the number of these texts as soon as all others are written.
 */
export function boundedWrite({
  stream,
  mostBytes,
  onRead,
}: {
  readonly stream: Writable;
  readonly mostBytes: number;
  readonly onRead: (dropped: number) => void;
}): (text: string) => void {
  let dropped = 0;
  stream.on('drain', () => {
    if (dropped === 0) return;
    const count = dropped;
    dropped = 0;
    onRead(count);
  });
  return (text) => {
    // An empty stream takes a text of any length.
    if (stream.writableLength > 0 && stream.writableLength + text.length > mostBytes) dropped++;
    else stream.write(text);
  };
}

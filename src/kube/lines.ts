/** A stream of lines that ends within a line, or contains a line that is too long. */
export class LineError extends Error {
  override readonly name = 'LineError';
  readonly code = 'LINES';
}

/** An object in etcd has 1.5 MB at most, and its JSON is not ten times larger. */
const maxLineLength = 16 * 1024 * 1024;

/**
 * The lines of a byte stream in UTF-8; a character that is split over two chunks is joined.
 * Throws {@link LineError} when the stream ends within a line, or a line is longer than 16 Mi characters.
 */
export async function* readLines(
  body: AsyncIterable<Uint8Array>,
  maxLength: number = maxLineLength,
): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let to = rest.indexOf('\n'); to >= 0; to = rest.indexOf('\n', from)) {
      if (to > from) yield rest.slice(from, to);
      from = to + 1;
    }
    rest = rest.slice(from);
    if (rest.length > maxLength) throw new LineError(`a line is longer than ${maxLength} characters`);
  }
  if (rest !== '') throw new LineError('the stream ended within a line');
}

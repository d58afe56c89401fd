/** What was thrown, as a text: the message of an error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The message of a tool on one line. */
export function oneLine(text: string): string {
  return text.trim().replaceAll(/\s*\n\s*/g, '; ');
}

/** The begin of a text that is longer than so many characters. */
export function cutAt(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** What was thrown, on one line. */
export function wordsOf(error: unknown): string {
  return oneLine(messageOf(error));
}

/** Whether the system refused something: an error of a file, or of Node.js. */
export function isSystemError(error: unknown): error is Error {
  return error instanceof Error && ('words' in error || 'errno' in error);
}

/** What the system says in an error of a file or of Node.js, `read-only file system`, without code, call and path. */
export function systemWords(error: unknown): string {
  if (error instanceof Error && 'words' in error && typeof error.words === 'string') return error.words;
  const message = messageOf(error);
  return /\bE[A-Z0-9]+: ([A-Za-z]+(?:[ /-][A-Za-z]+)*)/.exec(message)?.[1] ?? message;
}

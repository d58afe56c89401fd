/** What was thrown, as a text: the message of an error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The message of a tool on one line. */
export function oneLine(text: string): string {
  return text.trim().replaceAll(/\s*\n\s*/g, '; ');
}

/** What was thrown, on one line. */
export function wordsOf(error: unknown): string {
  return oneLine(messageOf(error));
}

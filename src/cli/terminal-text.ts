/**
 * Breaks a text between words so that no line is longer than `columns`, where its first line begins after `before`; the
 * other lines are indented by as much. Without a terminal (`undefined`) it stays one line. A long word is not broken.
 */
export function wrap(text: string, columns: number | undefined, before: number): string {
  if (columns === undefined) return text;
  const width = Math.max(columns - before, leastWidth);
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines.join(`\n${' '.repeat(before)}`);
}

const leastWidth = 20;

/** A message may quote what a user wrote: no line break and no escape sequence of it reaches the terminal. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ');
}

/**
 * The text in place of what a terminal of `rows` rows shows, without flicker and without scrolling: what does not fit is
 * cut. `isFirst`: clears the screen before.
 */
export function redrawn(text: string, rows: number, isFirst: boolean): string {
  const lines = text.split('\n').slice(0, -1);
  const room = Math.max(rows - 1, 1);
  const shown = lines.length <= room ? lines : [...lines.slice(0, room - 1), '…'];
  return `${isFirst ? '\u001b[2J' : ''}\u001b[H${shown.map((line) => `${line}\u001b[K\n`).join('')}\u001b[J`;
}

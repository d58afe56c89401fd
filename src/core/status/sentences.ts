import type { Verdict } from '../reasons.ts';

/** Longest message of a condition that furiwake writes (metav1.Condition allows 32,768 bytes). */
const mostLength = 1024;

/** Joins the messages with semicolons, each message once. */
export function sentences(verdicts: readonly Verdict[]): string {
  return [...new Set(verdicts.map(({ message }) => message))].join('; ');
}

/** Cuts the text between words to at most 1,024 characters. */
export function shortened(text: string): string {
  if (text.length <= mostLength) return text;
  const cut = text.slice(0, mostLength - 1);
  const end = cut.lastIndexOf(' ');
  return `${end > 0 ? cut.slice(0, end) : cut}…`;
}

/** `80, 443, 8000-8010`: ports in ascending order, three or more adjacent ones as a range. */
export function portList(ports: Iterable<number>): string {
  const sorted = [...new Set(ports)].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let from = 0; from < sorted.length;) {
    let to = from;
    while (sorted[to + 1] === (sorted[to] ?? 0) + 1) to++;
    const [first, last] = [sorted[from], sorted[to]];
    if (to - from >= 2) parts.push(`${first}-${last}`);
    else for (let index = from; index <= to; index++) parts.push(String(sorted[index]));
    from = to + 1;
  }
  return parts.join(', ');
}

/** `port 80`, or `ports 80, 443`. */
export function portWords(ports: Iterable<number>): string {
  const all = new Set(ports);
  return `${all.size === 1 ? 'port' : 'ports'} ${portList(all)}`;
}

/** `n1, n2 and 3 more`: so many of the texts at most. */
export function someOf(texts: readonly string[], most: number): string {
  const shown = texts.slice(0, most).join(', ');
  return texts.length > most ? `${shown} and ${texts.length - most} more` : shown;
}

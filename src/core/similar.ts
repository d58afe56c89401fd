const mostEdits = 3;

/** The candidate that a typing error may have meant: at most three letters differ, and a third of the name. */
export function mostSimilar(name: string, candidates: Iterable<string>): string | undefined {
  const [best] = Array.from(candidates, (each) => ({ each, edits: editDistance(name, each) }))
    .filter(({ edits }) => edits <= Math.min(mostEdits, name.length / 3))
    .sort((a, b) => a.edits - b.edits);
  return best?.each;
}

/** Number of letters to insert, delete or replace (Levenshtein). */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (const [line, letter] of from.split('').entries()) {
    const next = [line + 1];
    for (const [column, other] of to.split('').entries())
      next.push(
        Math.min((row[column] ?? 0) + (letter === other ? 0 : 1), (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1),
      );
    row = next;
  }
  return row.at(-1) ?? 0;
}

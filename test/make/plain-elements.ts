/**
 * Elements of a table, each listener with its own source ranges: `allowed4 LISTENER . RANGE` in place of `sources4 0:1 . RANGE`, and
 * `ranges4 LISTENER` without the number. Throws for ranges without a listener.
 */
export function plainElements(elements: Iterable<string>): readonly string[] {
  const all = [...elements];
  const used = new Set<string>();
  const plain = all.flatMap((element) => {
    const [, family = '', listener = '', id = ''] = /^ranges([46]) (.*) : (\S+)$/.exec(element) ?? [];
    if (id === '') return element.startsWith('sources') ? [] : element;
    const prefix = `sources${family} ${id} . `;
    used.add(prefix);
    const sources = all.flatMap((each) => (each.startsWith(prefix) ? each.slice(prefix.length) : []));
    return [`ranges${family} ${listener}`, ...sources.map((source) => `allowed${family} ${listener} . ${source}`)];
  });
  const unused = all.filter(
    (each) => each.startsWith('sources') && ![...used].some((prefix) => each.startsWith(prefix)),
  );
  if (unused.length > 0) throw new Error(`no listener has ${unused.join(', ')}`);
  return plain;
}

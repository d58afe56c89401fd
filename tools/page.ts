import { readFileSync } from 'node:fs';
import path from 'node:path';

/** The text of a page of this repository. */
export function readPage(name: string): string {
  return readFileSync(path.join(import.meta.dirname, '..', name), 'utf8');
}

/** The cells of every table row of a page, without code marks, headers and rules. */
export function tableRows(page: string): readonly (readonly string[])[] {
  const rows: string[][] = [];
  const lines = page.split('\n');
  for (const [index, line] of lines.entries()) {
    const isHead = lines[index + 1]?.startsWith('|--') === true || lines[index + 1]?.startsWith('| --') === true;
    if (!line.startsWith('|') || isHead || /^\|[\s|:-]+$/.test(line)) continue;
    rows.push(
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) =>
          cell
            .trim()
            .replaceAll('`', '')
            .replaceAll(String.raw`\|`, '|'),
        ),
    );
  }
  return rows;
}

/** The shell commands under a heading of a page, up to the next heading: the text of each block. */
export function shellBlocks(page: string, heading: string): readonly string[] {
  const blocks: string[] = [];
  let isThere = false;
  let block: string[] | undefined;
  for (const line of page.split('\n')) {
    if (block === undefined) {
      if (line === '```sh') block = [];
      else if (/^#+ /.test(line)) isThere = line.replace(/^#+ /, '') === heading;
    } else if (line === '```') {
      if (isThere) blocks.push(block.join('\n'));
      block = undefined;
    } else block.push(line);
  }
  return blocks;
}

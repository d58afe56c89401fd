import type { Lab } from './lab.ts';
import { isAlive } from './machine/processes.ts';
import { partNames, readRecord } from './network/part.ts';

/** A lab's hosts, parts and nodes, as lines for a terminal. */
export async function statusText(lab: Lab): Promise<string> {
  const hosts = lab.hosts.map(({ name, role, ip4, ip6 }) => [name, role, ip4, ip6]);
  const parts = await Promise.all((await partNames(lab.folder)).map((part) => partRow(lab, part)));
  const nodes = await lab
    .kubectl('get', 'nodes')
    .catch((error: Error) => `The API server does not answer: ${error.message}\n`);
  return `Lab ${lab.name} in ${lab.folder}\n\n${table(hosts)}\n\n${table(parts)}\n\n${nodes.trimEnd()}`;
}

async function partRow(lab: Lab, name: string): Promise<string[]> {
  const { process } = await readRecord(lab.folder, name);
  if (process === undefined) return [name, 'stopped'];
  return [name, (await isAlive(process)) ? `runs, process ${process.pid}` : 'ended by itself'];
}

/** Columns as wide as their widest cell, two blanks apart. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

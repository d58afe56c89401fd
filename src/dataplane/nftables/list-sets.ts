import { longestCallMs } from '../../ports/call-times.ts';
import type { Exec } from '../../ports/exec.ts';
import { noHistory } from './session.ts';
import type { TableSpec } from './table-text.ts';

/**
 * Lists these sets of a table, each as nft's JSON; skips those that the kernel does not have. One process: nft 1.0.6 reads a set
 * and no other one for each line (10,000 elements: 60 ms), whereas a list of the table reads all elements.
 * Throws `ExecError` if nft cannot run.
 */
export async function listSets(
  exec: Exec,
  { name, sets: declarations }: Pick<TableSpec, 'name' | 'sets'>,
  sets: readonly string[],
  signal: AbortSignal,
  flags: readonly string[] = [],
): Promise<readonly string[]> {
  const kindOf = (set: string): string => (declarations[set]?.startsWith('map ') === true ? 'map' : 'set');
  const { stdout } = await exec.run('env', [noHistory, 'nft', '--json', ...flags, '--interactive'], {
    stdin: sets.map((set) => `list ${kindOf(set)} ${name} ${set}\n`).join(''),
    signal,
    timeoutMs: longestCallMs,
  });
  return stdout.split('\n').filter((line) => line.startsWith('{'));
}

/** Reads `show proc` of the master: the process IDs of the workers under `# old workers`. */
export function parseOldWorkers(answer: string): readonly number[] {
  const [, section = ''] = answer.split(/^# old workers.*\n/m);
  return [...section.replace(/^#[^]*/m, '').matchAll(/^(\d+)\s+worker\s/gm)].map(([, pid]) => Number(pid));
}

/** Reads `show proc` of the master: how often it has reloaded; `undefined`: the answer does not say so. */
export function parseReloads(answer: string): number | undefined {
  const [, reloads] = /^\d+\s+master\s+(\d+)\s/m.exec(answer) ?? [];
  return reloads === undefined ? undefined : Number(reloads);
}

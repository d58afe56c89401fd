import type { Clock, Random } from '../ports/clock.ts';
import type { Exec } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';

/** The machine that furiwake runs on: what only `main` may touch, handed to the commands. */
export type Machine = {
  readonly clock: Clock;
  readonly random: Random;
  readonly exec: Exec;
  readonly files: Files;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly homeFolder: string;
  readonly hostname: string;
  readonly isRoot: boolean;
  readonly pid: number;
  /** A new random identifier. */
  readonly newId: () => string;
};

/** Paths inside the state directory. */
export function statePaths(
  stateDir: string,
): Readonly<Record<'haproxy' | 'rows' | 'nodes' | 'records' | 'addresses' | 'identity' | 'adminSocket', string>> {
  return {
    haproxy: `${stateDir}/haproxy`,
    rows: `${stateDir}/rows.jsonl`,
    nodes: `${stateDir}/nodes.json`,
    records: `${stateDir}/records.jsonl`,
    addresses: `${stateDir}/addresses.json`,
    identity: `${stateDir}/identity`,
    adminSocket: `${stateDir}/admin.sock`,
  };
}

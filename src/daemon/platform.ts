import type { Clock, Random } from '../ports/clock.ts';
import type { Exec } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';

/** The machine that furiwake runs on. Only `main` accesses it; the commands get it as a parameter. */
export type Platform = {
  readonly clock: Clock;
  readonly random: Random;
  readonly exec: Exec;
  readonly files: Files;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly homeFolder: string;
  readonly hostname: string;
  readonly isRoot: boolean;
  readonly pid: number;
  /** Of Node.js: `24.11.1`. */
  readonly nodeVersion: string;
  /** A new random identifier. */
  readonly newId: () => string;
  /**
   * The folder of what runs in this network namespace: the sockets by which instances find each other (`lockHost`), and HAProxy. It
   * is below `/run`, which a reboot empties.
   */
  readonly runFolder: string;
};

/** The folder of HAProxy's files: a start makes all of them again from the last table. */
export function haproxyFolder(runFolder: string): string {
  return `${runFolder}/haproxy`;
}

/** Says that the disk lacks changes of the last table. */
export function unsavedTablePath(runFolder: string): string {
  return `${runFolder}/unsaved-table`;
}

/** Paths inside the state directory. */
export function statePaths(
  stateDir: string,
): Readonly<
  Record<
    | 'ledger'
    | 'listeners'
    | 'nodes'
    | 'backends'
    | 'withoutEndpoints'
    | 'placement'
    | 'identity'
    | 'adminSocket'
    | 'drains'
    | 'drainedServices'
    | 'candidates'
    | 'tenure'
    | 'answeringNodes',
    string
  >
> {
  return {
    ledger: `${stateDir}/ledger.jsonl`,
    listeners: `${stateDir}/listeners.jsonl`,
    nodes: `${stateDir}/nodes.jsonl`,
    backends: `${stateDir}/backends.jsonl`,
    withoutEndpoints: `${stateDir}/without-endpoints.jsonl`,
    placement: `${stateDir}/placement.jsonl`,
    drains: `${stateDir}/drains.jsonl`,
    drainedServices: `${stateDir}/drained-services.jsonl`,
    candidates: `${stateDir}/candidates.jsonl`,
    identity: `${stateDir}/identity.jsonl`,
    tenure: `${stateDir}/tenure.jsonl`,
    answeringNodes: `${stateDir}/answering-nodes.jsonl`,
    adminSocket: `${stateDir}/admin.sock`,
  };
}

/**
 * Files of release 0.1.0 in the state directory: read until the files of this release exist, then removed; those of HAProxy as
 * soon as another one is started.
 */
export function earlierStatePaths(
  stateDir: string,
): Readonly<Record<'haproxy' | 'records' | 'rows' | 'nodes' | 'addresses' | 'identity', string>> {
  return {
    haproxy: `${stateDir}/haproxy`,
    records: `${stateDir}/records.jsonl`,
    rows: `${stateDir}/rows.jsonl`,
    nodes: `${stateDir}/nodes.json`,
    addresses: `${stateDir}/addresses.json`,
    identity: `${stateDir}/identity`,
  };
}

/** The parameters of each command that works on this host. */
export type CommandDeps = {
  readonly version: string;
  readonly machine: Platform;
  readonly log: Log;
  /** Calls `reload` whenever the administrator requests to read files again (SIGHUP). */
  readonly onReload: (reload: () => void) => void;
  readonly metrics: Metrics & {
    /** The metrics of these names, or all if there are none, in the Prometheus text format. */
    readonly text: (names: readonly string[]) => Promise<string>;
    readonly contentType: string;
  };
};

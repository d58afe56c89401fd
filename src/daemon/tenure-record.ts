import { waitLimits } from '../async/backoff.ts';
import * as z from 'zod';
import { makeLatch } from '../async/latch.ts';
import { runWhenSet } from '../async/run-when-set.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { isSameTenure, type Tenure } from '../kube/lease-object.ts';
import type { Clock } from '../ports/clock.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { makeMapFile } from '../state/map-file.ts';
import { fileVersions } from '../state/file-versions.ts';

/**
 * Who may have decided since this state directory was last up to date:
 *
 * - `own`: no other process. The last tenure of the Lease is the recorded one.
 * - `other`: another host held the Lease.
 * - `unknown`: this host held it, or there was none, but the record does not say the same: no record yet, a crash before
 *   it was written, a copied state directory, another host name, etcd restored from a backup.
 */
export type Succession = 'own' | 'other' | 'unknown';

/** The last tenure of this host as the holder of another class, and the name of that Lease. */
export type FormerClass = Tenure & { readonly leaseName: string; readonly host: string };

/** The last tenure whose decisions are in the ledger of this state directory. */
export type TenureRecord = {
  /** Whether the last one that was recorded before this process is of this boot of this machine. */
  readonly isOfThisBoot: boolean;
  /** The last one that was recorded before this process, if it is of the Lease of another class. */
  readonly formerClass: FormerClass | undefined;
  /** For the tenure before the one that this process begins; `undefined`: there was no Lease. */
  successionTo(before: Tenure | undefined): Succession;
  /**
   * Records a tenure of this process; `run` writes it to the disk. Called too late, or never, it makes the next process
   * trust the statuses; called before the ledger is written it makes it trust a stale ledger.
   */
  keep(tenure: Tenure): void;
  /** Writes to the disk until `signal` aborts; a failed write is repeated after growing waits. */
  run(signal: AbortSignal): Promise<void>;
};

const schema = z.object({
  lease: z.string(),
  transitions: z.int(),
  holder: z.string(),
  /** `undefined`: written by an earlier release. */
  name: z.string().optional(),
  host: z.string(),
  boot: z.string().optional(),
});
type KeptTenure = z.infer<typeof schema>;

/** Random at each boot: also of another machine, and of this one with a disk from a snapshot. */
const bootIdPath = '/proc/sys/kernel/random/boot_id';

export async function loadTenureRecord(deps: {
  readonly path: string;
  readonly ledgerPath: string;
  /** The Lease of the class of this process. */
  readonly leaseName: string;
  /** Of this host in the Lease. */
  readonly identity: string;
  /** A copy of the state directory on another machine has the same identity. */
  readonly hostname: string;
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Log;
}): Promise<TenureRecord> {
  const { ledgerPath, leaseName, identity, hostname, files } = deps;
  const file = makeMapFile<string, KeptTenure>({
    ...deps,
    name: 'tenure',
    needs: ledgerPath, // without the ledger the tenure must be unknown
    version: fileVersions.tenure,
    without: 'addresses in the statuses of the Services take precedence over those of the ledger',
    encode: (kept) => kept,
    decode: (fields) => {
      const kept = schema.parse(fields);
      return [kept.lease, kept];
    },
  });
  const due = makeLatch();
  const boot = (await files.read(bootIdPath).catch(() => undefined))?.trim();
  let last: KeptTenure | undefined;
  for (const kept of (await file.read())?.values() ?? []) last = kept;
  const formerName = last?.name;
  const write = async (): Promise<void> => {
    // First the ledger: a power failure must not leave the tenure without its decisions.
    if (await files.exists(ledgerPath)) await files.sync(ledgerPath);
    if (last !== undefined) await file.write(PersistentMap.from([[last.lease, last]]));
  };
  return {
    formerClass:
      last === undefined || formerName === undefined || formerName === leaseName
        ? undefined
        : { ...last, leaseName: formerName },
    isOfThisBoot: boot !== undefined && last?.boot === boot,
    successionTo: (before) => {
      if (before === undefined) return 'unknown';
      const isReleased = before.holder === '';
      if (!isReleased && before.holder !== identity) return 'other';
      if (last === undefined) return 'unknown';
      if (last.holder === identity && last.host === hostname && isSameTenure(last, before)) return 'own';
      return isReleased ? 'other' : 'unknown';
    },
    keep: (tenure) => {
      last = { ...tenure, name: leaseName, host: hostname, boot };
      due.set();
    },
    run: (signal) =>
      runWhenSet({
        what: 'recording the tenure of the Lease',
        due,
        work: write,
        retry: waitLimits.patient,
        ...deps,
        level: 'error',
        signal,
      }),
  };
}

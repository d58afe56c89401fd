import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Platform } from './platform.ts';

/** The parameters of each command that works on this host. */
export type CommandDeps = {
  readonly version: string;
  readonly machine: Platform;
  readonly log: Log;
  /** Calls `reload` whenever the administrator requests to read files again (SIGHUP). */
  readonly onReload: (reload: () => void) => void;
  readonly metrics: Metrics & {
    /** All metrics in the Prometheus text format. */
    readonly text: () => Promise<string>;
    readonly contentType: string;
  };
};

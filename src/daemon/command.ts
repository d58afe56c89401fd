import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Platform } from './platform.ts';

/** What each command that works on this host is given. */
export type CommandDeps = {
  readonly version: string;
  readonly machine: Platform;
  readonly log: Log;
  /** `reload` is called whenever the administrator asks to read files again (SIGHUP). */
  readonly onReload: (reload: () => void) => void;
  readonly metrics: Metrics & {
    /** All figures in the Prometheus text format. */
    readonly text: () => Promise<string>;
    readonly contentType: string;
  };
};

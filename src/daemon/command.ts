import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Platform } from './platform.ts';

/** What every command is given. */
export type CommandDeps = {
  readonly version: string;
  readonly machine: Platform;
  readonly log: Log;
  readonly metrics: Metrics & {
    /** All figures in the Prometheus text format. */
    readonly text: () => Promise<string>;
    readonly contentType: string;
  };
};

import type { HostReport } from '../core/traffic/report.ts';

/** The verdict on each node, from all sources. Every data plane follows it. */
export type Health = {
  /** By node; the same object while nothing changed. */
  verdicts(): HostReport['health'];
  /** Calls `listener` after each change of a verdict; returns the end of the subscription. */
  subscribe(listener: () => void): () => void;
};

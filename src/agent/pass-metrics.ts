import type { Metrics } from '../ports/metrics.ts';
import type { EndedAttempt } from './stages.ts';

/** A pass over the host, as the metrics see it. */
export type PassNumbers = {
  readonly ms: number;
  /** Listeners that a tool refused in this pass. */
  readonly refused: number;
  readonly inForce: number;
  /** Listeners that wait for another attempt. */
  readonly quarantined: number;
};

const passSeconds: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const stageSeconds: readonly number[] = [0.001, 0.01, 0.1, 1, 5, 30, 300];

/** The metrics of the agent. */
export function makePassMetrics(metrics: Metrics): {
  /** Called after each pass. */
  readonly pass: (numbers: PassNumbers) => void;
  /** Called after each attempt of a stage. */
  readonly attempt: (ended: EndedAttempt) => void;
} {
  const durations = metrics.histogram(
    'furiwake_dataplane_apply_seconds',
    'Time of one pass over the host',
    passSeconds,
  );
  const stages = metrics.histogram(
    'furiwake_dataplane_stage_seconds',
    'Time of each attempt of a stage of a pass, also of one that outlasted its pass',
    stageSeconds,
    ['stage'],
  );
  const failures = metrics.counter(
    'furiwake_dataplane_errors_total',
    'Attempts of a stage of a pass that failed as a whole, and listeners that were refused',
    ['kind'],
  );
  const listeners = metrics.gauge('furiwake_listeners', 'Listeners by state', ['state']);
  return {
    pass: ({ ms, refused, inForce, quarantined }) => {
      failures.add(refused, { kind: 'listener' });
      durations.observe(ms / 1000);
      listeners.set(inForce, { state: 'in force' });
      listeners.set(quarantined, { state: 'refused' });
    },
    attempt: ({ stage, ms, isDone }) => {
      stages.observe(ms / 1000, { stage });
      if (!isDone) failures.add(1, { kind: stage });
    },
  };
}

import type { Progress } from '../lab/progress.ts';
import type { Cluster } from './cluster.ts';

/** One measured figure. */
export type Figure = {
  readonly what: string;
  readonly value: number;
  /** `×` is a ratio; `''` a count. */
  readonly unit: 'µs' | 'ms' | 's' | 'MB' | 'Gbit/s' | '1/s' | '×' | '';
  /** The target; none for a figure that only explains the others. */
  readonly target?: Target;
};

/** The limit for a figure, in its unit. */
export type Target = { readonly atMost: number } | { readonly atLeast: number };

export type Bench = {
  /** The name on the command line. */
  readonly name: string;
  /** The measured quantity and the set-up. */
  readonly title: string;
  readonly run: (context: Context) => Promise<readonly Figure[]>;
};

/** The environment of a benchmark. */
export type Context = {
  /** The bundled furiwake. */
  readonly bundle: string;
  /** The lab, started by the first call; benchmarks use it one after the other. */
  readonly cluster: () => Promise<Cluster>;
  readonly progress: Progress;
  readonly signal: AbortSignal;
};

/** `undefined` if there is no target. */
export function isReached({ value, target }: Figure): boolean | undefined {
  if (target === undefined) return undefined;
  return 'atMost' in target ? value <= target.atMost : value >= target.atLeast;
}

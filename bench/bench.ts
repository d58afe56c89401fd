import type { Progress } from '../lab/progress.ts';
import type { Cluster } from './cluster.ts';

/** One measured figure. */
export type Figure = {
  readonly what: string;
  readonly value: number;
  /** `×` is a ratio; `''` a count. */
  readonly unit: 'ms' | 's' | 'MB' | 'Gbit/s' | '1/s' | '×' | '';
  /** What it must reach; none where it only explains the others. */
  readonly target?: Target;
};

/** The bound that a figure must keep, in the figure's unit. */
export type Target = { readonly atMost: number } | { readonly atLeast: number };

export type Bench = {
  /** As on the command line. */
  readonly name: string;
  /** What is measured, and on what. */
  readonly title: string;
  readonly run: (context: Context) => Promise<readonly Figure[]>;
};

/** What a bench has at hand. */
export type Context = {
  /** The bundled furiwake. */
  readonly bundle: string;
  /** The lab, started with the first call; benches share it, one after the other. */
  readonly cluster: () => Promise<Cluster>;
  readonly progress: Progress;
  readonly signal: AbortSignal;
};

/** `undefined` where there is no target. */
export function isReached({ value, target }: Figure): boolean | undefined {
  if (target === undefined) return undefined;
  return 'atMost' in target ? value <= target.atMost : value >= target.atLeast;
}

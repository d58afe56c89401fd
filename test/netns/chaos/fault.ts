import { systemExec } from '../../../src/main/node/exec.ts';
import type { FuriwakeProcess } from './furiwake-process.ts';
import type { Box } from './lab.ts';
import type { World } from './world.ts';

export type Random = {
  /** From 0 below `below`. */
  int(below: number): number;
  pick<T>(from: readonly T[]): T;
};

export type Host = { readonly box: Box; readonly furiwake: FuriwakeProcess };

/**
 * An action of an operator or of fate. `apply` resolves with what ends it, if it lasts. It may break nothing (`soft`), remove addresses
 * for a moment (`addresses`), and break connections: those of `nat` and `direct` (`packets`), or all.
 */
export type Fault = {
  readonly weight: number;
  readonly kind: 'soft' | 'addresses' | 'packets' | 'box';
  apply(world: World, random: Random): Promise<(() => Promise<void>) | void>;
};

export const never: AbortSignal = new AbortController().signal;

export const onMachine = (file: string, ...args: readonly string[]): Promise<unknown> =>
  systemExec.run(file, args, { signal: AbortSignal.timeout(10_000) });

export const hostOf = (world: World, random: Random): Host => random.pick(world.hosts);

export const quietly = (work: Promise<unknown>): Promise<void> =>
  work.then(
    () => undefined,
    () => undefined,
  );

type ApplyToHost = (host: Host, random: Random, world: World) => Promise<(() => Promise<void>) | void>;

const onHost =
  (kind: Fault['kind']) =>
  (weight: number, apply: ApplyToHost): Fault => ({
    weight,
    kind,
    apply: (world, random) => apply(hostOf(world, random), random, world),
  });

export const box: (weight: number, apply: ApplyToHost) => Fault = onHost('box');
export const addresses: (weight: number, apply: ApplyToHost) => Fault = onHost('addresses');
export const packets: (weight: number, apply: ApplyToHost) => Fault = onHost('packets');

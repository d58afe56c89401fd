import { createHash } from 'node:crypto';

/** Numbers for names. */
export type Ids = {
  of(name: string): number;
  /** The name is no longer in use. */
  release(name: string): void;
};

const greatest = 2 ** 31 - 1;

/**
 * In the order of their use: from 1 to 2^31 - 1, then from the beginning, without those in use. A name that was released gets another
 * number: nothing of it is inherited.
 */
export function makeIds(most: number = greatest): Ids {
  return idsFrom((_, last) => (last % most) + 1, most);
}

/** The number that a name has in {@link makeLastingIds}, unless another one has it. */
export function firstIdOf(name: string, most: number = greatest): number {
  return (createHash('sha256').update(name).digest().readUInt32BE() % most) + 1;
}

/**
 * The same numbers in each process, and for a name that was released and is back: what the kernel has learnt under them stays valid. So
 * the name must say of which object it is. They are hashes of the names; of two names with the same one the later gets the next number.
 */
export function makeLastingIds(most: number = greatest): Ids {
  return idsFrom((name) => firstIdOf(name, most), most);
}

/** The first number for a name, or the next one that is free. `last`: the number of the last new name, at first 0. */
function idsFrom(first: (name: string, last: number) => number, most: number): Ids {
  const byName = new Map<string, number>();
  const used = new Set<number>();
  let last = 0;
  return {
    of: (name) => {
      const known = byName.get(name);
      if (known !== undefined) return known;
      last = first(name, last);
      while (used.has(last)) last = (last % most) + 1;
      byName.set(name, last);
      used.add(last);
      return last;
    },
    release: (name) => {
      const id = byName.get(name);
      byName.delete(name);
      if (id !== undefined) used.delete(id);
    },
  };
}

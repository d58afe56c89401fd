import { createHash } from 'node:crypto';

/** Numbers for names, in the order of their use. A name that was released gets another number: nothing of it is inherited. */
export type Ids = {
  of(name: string): number;
  /** The name is no longer in use. */
  release(name: string): void;
};

const greatest = 2 ** 31 - 1;

/** From 1 to 2^31 - 1, then from the beginning, without those in use. */
export function makeIds(most: number = greatest): Ids {
  const byName = new Map<string, number>();
  const used = new Set<number>();
  let last = 0;
  return {
    of: (name) => {
      const known = byName.get(name);
      if (known !== undefined) return known;
      do last = (last % most) + 1;
      while (used.has(last));
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

/** The number that a name has in {@link makeLastingIds}, unless another one has it. */
export function firstIdOf(name: string, most: number = greatest): number {
  return (createHash('sha256').update(name).digest().readUInt32BE() % most) + 1;
}

/** A number that was released is not used again before so many others were. */
const mostReleased = 1_000;

/**
 * The same numbers in each process: what the kernel has learnt under them stays valid over a restart. They are hashes of the names; of
 * two names with the same one the later gets the next number.
 */
export function makeLastingIds(most: number = greatest): Ids {
  const byName = new Map<string, number>();
  const used = new Set<number>();
  const released = new Set<number>();
  return {
    of: (name) => {
      const known = byName.get(name);
      if (known !== undefined) return known;
      let id = firstIdOf(name, most);
      while (used.has(id) || released.has(id)) id = (id % most) + 1;
      byName.set(name, id);
      used.add(id);
      return id;
    },
    release: (name) => {
      const id = byName.get(name);
      byName.delete(name);
      if (id === undefined) return;
      used.delete(id);
      released.add(id);
      const [oldest] = released;
      if (released.size > mostReleased && oldest !== undefined) released.delete(oldest);
    },
  };
}

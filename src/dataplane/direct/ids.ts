/** Numbers for names, in the order of their use. A name that was released gets another number: nothing of it is inherited. */
export type Ids = {
  of(name: string): number;
  /** The name is no longer in use. */
  release(name: string): void;
};

/** From 1 to 2^31 - 1, then from the beginning, without those in use. */
export function makeIds(most: number = 2 ** 31 - 1): Ids {
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

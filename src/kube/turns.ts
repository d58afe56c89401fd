/** Items of groups that take turns: first in, first out in each group. An item is in it once. */
export type Turns<T> = {
  size(): number;
  add(item: T): void;
  /** Takes the first item of the first group that may have a turn, which is then the last group. */
  take(mayHaveTurn?: (group: string) => boolean): T | undefined;
  /** Takes the newest item of the largest group. */
  takeFromLargest(): T | undefined;
};

export function makeTurns<T>(groupOf: (item: T) => string): Turns<T> {
  const groups = new Map<string, Set<T>>();
  let size = 0;
  const remove = (group: string, items: Set<T>, item: T): void => {
    if (items.delete(item)) size--;
    if (items.size === 0) groups.delete(group);
  };
  return {
    size: () => size,
    add: (item) => {
      const group = groupOf(item);
      const items = groups.get(group) ?? new Set();
      if (!items.has(item)) size++;
      groups.set(group, items.add(item));
    },
    take: (mayHaveTurn = () => true) => {
      for (const [group, items] of groups) {
        if (!mayHaveTurn(group)) continue;
        for (const item of items) {
          groups.delete(group);
          groups.set(group, items);
          remove(group, items, item);
          return item;
        }
      }
      return undefined;
    },
    takeFromLargest: () => {
      let largest: readonly [string, Set<T>] | undefined;
      for (const entry of groups) if (largest === undefined || entry[1].size > largest[1].size) largest = entry;
      if (largest === undefined) return undefined;
      const [group, items] = largest;
      const newest = [...items].at(-1);
      if (newest !== undefined) remove(group, items, newest);
      return newest;
    },
  };
}

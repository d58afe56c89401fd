const none: readonly never[] = [];

/** The list, or the same object for each empty one: most lists of a Service are empty (docs/adr/0021). */
export function orNone<T>(list: readonly T[]): readonly T[] {
  return list.length === 0 ? none : list;
}

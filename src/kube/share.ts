/**
 * `next`, with every part that is deep-equal to the same part of `prev` replaced by that one; `prev` itself when all
 * is. So `===` tells what changed, at every level. For plain data: objects, arrays, primitives; no cycles.
 */
export function share<T>(prev: T, next: T): T {
  return shareValue(prev, next) as T;
}

type Fields = Readonly<Record<string, unknown>>;

function shareValue(prev: unknown, next: unknown): unknown {
  if (Object.is(prev, next)) return prev;
  if (Array.isArray(prev) && Array.isArray(next)) return shareArray(prev, next);
  return isFields(prev) && isFields(next) ? shareFields(prev, next) : next;
}

function shareArray(prev: readonly unknown[], next: readonly unknown[]): readonly unknown[] {
  const shared = next.map((value, index) => shareValue(prev[index], value));
  return prev.length === next.length && shared.every((value, index) => Object.is(value, prev[index])) ? prev : shared;
}

function shareFields(prev: Fields, next: Fields): Fields {
  const keys = Object.keys(next);
  const shared: Record<string, unknown> = {};
  let isSame = keys.length === Object.keys(prev).length;
  for (const key of keys) {
    const value = shareValue(prev[key], next[key]);
    isSame &&= Object.is(value, prev[key]) && key in prev;
    shared[key] = value;
  }
  return isSame ? prev : shared;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

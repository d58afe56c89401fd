/**
 * `next`, with each part that is deep-equal to the same part of `prev` replaced by the latter; `prev` itself if both
 * are equal. So `===` shows what changed, at every level. An object that has such a part has the equal texts of `prev`, too: what was
 * made from `prev` may have them. For plain data: objects, arrays, primitives; no cycles.
 */
export function share<T>(prev: T | undefined, next: T): T {
  return shareValue(prev, next) as T;
}

/** Differs from every value of a field, also from `undefined`. */
const absent = Symbol('absent');

type Fields = Readonly<Record<string, unknown>>;

function shareValue(prev: unknown, next: unknown): unknown {
  if (Object.is(prev, next)) return prev;
  if (Array.isArray(prev) && Array.isArray(next)) return shareArray(prev, next);
  return isFields(prev) && isFields(next) ? shareFields(prev, next) : next;
}

function shareArray(prev: readonly unknown[], next: readonly unknown[]): readonly unknown[] {
  const shared = next.map((value, index) => shareValue(prev[index], value));
  const isAll = (of: readonly unknown[]): boolean => shared.every((value, index) => Object.is(value, of[index]));
  if (prev.length === next.length && isAll(prev)) return prev;
  return isAll(next) ? next : shared; // one that many objects have stays theirs
}

function shareFields(prev: Fields, next: Fields): Fields {
  const keys = Object.keys(next);
  let isSame = keys.length === Object.keys(prev).length;
  const shared: [string, unknown][] = [];
  const texts: [string, string][] = [];
  for (const key of keys) {
    const old = Object.hasOwn(prev, key) ? prev[key] : absent;
    const part = shareValue(old, next[key]);
    isSame &&= Object.is(part, old);
    if (!Object.is(part, next[key])) shared.push([key, part]);
    else if (typeof part === 'string' && part === old) texts.push([key, part]);
  }
  if (isSame) return prev;
  // A copy has the shape of its original: an object that is made field by field takes half as much memory again.
  return shared.length === 0 ? next : { ...next, ...Object.fromEntries([...shared, ...texts]) };
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

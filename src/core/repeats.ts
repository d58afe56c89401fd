/** Returns the value, or an equal one that it has returned before. For plain data of JSON. */
export type Once = <T>(value: T) => T;

/** Each value is kept as often as it was decoded. */
export const asDecoded: Once = (value) => value;

/** More than a cluster has nodes, with which values repeat. */
const mostValues = 2_048;

/**
 * Remembers values that are equal in many objects, so that all have the same one (docs/adr/0021). It
 * forgets all when it has too many: values that do not repeat take no more room.
 */
export function makeRepeats(): Once {
  const values = new Map<string, unknown>();
  return <T>(value: T): T => {
    const text = JSON.stringify(value);
    const known = values.get(text);
    if (known !== undefined) return known as T;
    if (values.size >= mostValues) values.clear();
    values.set(text, value);
    return value;
  };
}

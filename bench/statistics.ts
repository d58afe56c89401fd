/**
 * The value below which the part `q` (0 to 1) of `values` lies, by the nearest rank.
 * @throws RangeError without values.
 */
export function quantile(values: readonly number[], q: number): number {
  return at(values, Math.max(0, Math.ceil(q * values.length) - 1));
}

/**
 * The middle value; the mean of the two in the middle if the number is even.
 * @throws RangeError without values
 */
export function median(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  return (at(values, Math.floor(middle)) + at(values, Math.ceil(middle))) / 2;
}

function at(values: readonly number[], rank: number): number {
  const value = values.toSorted((a, b) => a - b)[rank];
  if (value === undefined) throw new RangeError('nothing was measured');
  return value;
}

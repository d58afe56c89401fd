/** Ends a `switch` over a union: the compiler rejects a missing case. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value ${JSON.stringify(value)}`);
}

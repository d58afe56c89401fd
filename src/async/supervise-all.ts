/**
 * Runs the parts concurrently. The first failure aborts the others; when all have ended, that first failure is thrown.
 * When `signal` aborts, all end and nothing is thrown.
 */
export async function superviseAll(
  parts: readonly ((signal: AbortSignal) => Promise<void>)[],
  signal: AbortSignal,
): Promise<void> {
  const failure = new AbortController();
  const inner = AbortSignal.any([signal, failure.signal]);
  let first: unknown;
  await Promise.all(
    parts.map(async (part) => {
      try {
        await part(inner);
      } catch (error) {
        if (inner.aborted) return; // it ended because it was aborted
        first = error;
        failure.abort(error);
      }
    }),
  );
  if (failure.signal.aborted) throw first;
}

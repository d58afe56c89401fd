/** The value of `promise`, unless `signal` aborts first: then the reason of the signal is thrown. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([aborted.promise, promise]); // a later rejection of `promise` is handled, too
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Resolves when `signal` aborts. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Aborts with `outer`, or before; nothing of it stays at `outer` once it is disposed of. */
export type LinkedAbort = Disposable & { readonly signal: AbortSignal; abort(reason: unknown): void };

export function linkTo(outer: AbortSignal): LinkedAbort {
  const controller = new AbortController();
  const relay = (): void => controller.abort(outer.reason);
  if (outer.aborted) relay();
  else outer.addEventListener('abort', relay, { once: true });
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    [Symbol.dispose]: () => outer.removeEventListener('abort', relay),
  };
}

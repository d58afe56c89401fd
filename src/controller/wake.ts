/** A latch: any number of calls of `now` while somebody is busy make one wake-up. */
export type Wake = {
  now(): void;
  /** Resolves at once when `now` was called since the last wait, else when it is; rejects when `signal` aborts. */
  wait(signal: AbortSignal): Promise<void>;
};

export function makeWake(): Wake {
  let isDue = false;
  let waiter: (() => void) | undefined;
  return {
    now: () => {
      isDue = true;
      waiter?.();
    },
    wait: async (signal) => {
      signal.throwIfAborted();
      if (!isDue) {
        const due = Promise.withResolvers<void>();
        waiter = due.resolve;
        await unlessAborted(due.promise, signal);
      }
      waiter = undefined;
      isDue = false;
    },
  };
}

/** The promise's value, unless `signal` aborts first: then its reason is thrown. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

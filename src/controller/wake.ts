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
        await new Promise<void>((resolve, reject) => {
          const onAbort = (): void => reject(signal.reason);
          signal.addEventListener('abort', onAbort, { once: true });
          waiter = () => {
            signal.removeEventListener('abort', onAbort);
            resolve();
          };
        });
      }
      waiter = undefined;
      isDue = false;
    },
  };
}

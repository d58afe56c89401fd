/** Listeners to changes. */
export type Subscribers = {
  /** Calls `listener` after each change; returns a function that ends the subscription. */
  readonly subscribe: (listener: () => void) => () => void;
  readonly tell: () => void;
};

export function makeSubscribers(): Subscribers {
  const listeners = new Set<() => void>();
  return {
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    tell: () => {
      for (const listener of listeners) listener();
    },
  };
}

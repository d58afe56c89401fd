/** Listeners to changes, each passed as a `Value`. */
export type Subscribers<Value = void> = {
  /** Calls `listener` after each change; returns a function that ends the subscription. */
  readonly subscribe: (listener: (value: Value) => void) => () => void;
  readonly tell: (value: Value) => void;
};

export function makeSubscribers<Value = void>(): Subscribers<Value> {
  const listeners = new Set<(value: Value) => void>();
  return {
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    tell: (value) => {
      for (const listener of listeners) listener(value);
    },
  };
}

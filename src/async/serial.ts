/** Runs one piece of work at a time, in the order of the calls; a failure does not block the next. */
export type Serial = <T>(work: () => Promise<T>) => Promise<T>;

export function makeSerial(): Serial {
  let tail: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = tail.then(work);
    tail = result.catch(() => undefined); // the caller gets the error
    return result;
  };
}

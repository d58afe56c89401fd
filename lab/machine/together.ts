/**
 * Waits for all tasks, like `Promise.all`; but the first failure aborts `stop`, the signal of the tasks, and when this
 * rejects no task is running, so that a clean-up afterwards is safe.
 */
export async function together<T>(stop: AbortController, tasks: readonly Promise<T>[]): Promise<T[]> {
  const watched = tasks.map((task) =>
    task.catch((error: unknown) => {
      stop.abort(error); // only the first counts
      throw error;
    }),
  );
  await Promise.allSettled(watched);
  stop.signal.throwIfAborted();
  return Promise.all(watched);
}

/**
 * Waits for all tasks, like `Promise.all`; but the first failure aborts `stop`, which the tasks listen to, and when
 * this rejects none of them runs any more: whoever cleans up afterwards is not worked against.
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

import { setImmediate as nextTurn } from 'node:timers/promises';

/** Turns of the event loop that tests of this process are waiting for. */
let awaited = 0;

/** Resolves in the next turn of the event loop: all promises that were ready have been handled by then. */
export async function breathe(): Promise<void> {
  awaited += 1;
  await nextTurn();
  awaited -= 1;
}

/**
 * Resolves when this process has no work in memory: it only waits for clocks, files and sockets. That is exact, and no guess
 * at a number of turns: Node handles promises and `process.nextTick` between two callbacks, so unfinished work has an
 * immediate. Tests that wait here or in {@link breathe} do not count.
 */
export async function untilIdle(): Promise<void> {
  do await breathe();
  while (immediates() > awaited);
}

function immediates(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'Immediate').length;
}

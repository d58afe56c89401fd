import { getHeapStatistics, setFlagsFromString } from 'node:v8';

/** A start with 10,000 Services and their first plan take less. */
const startMs = 60_000;
/** 1,000 Services use 36 MB at most; a start with thousands uses more than this after a second or two. */
const smallBytes = 40e6;
const [lookEveryMs, lookForMs] = [250, 8_000];

/*
 * Imported before all that allocates.
 *
 * - The space for young objects does not grow, and V8 makes it smaller while little is due. furiwake's objects live for
 *   one turn, so a small space that is collected more often is enough.
 * - The old space may grow by a fifth of what is in use.
 * - Code is optimised for its size only after the first seconds: in them 100 Services at once would take 500 ms instead of 360 ms.
 * - Optimising undici's HTTP parser, which is WebAssembly, would keep 10 MB permanently.
 *
 * But a start with thousands of Services allocates in seconds what is kept then. As soon as it is seen, and until it is over, the old space
 * may grow to twice of what is in use between two collections, and the space for young objects to 8 MB (`--max-semi-space-size`, in the
 * first line of the bundle). With 10,000 Services the former took 8.2 s of processor time instead of 11.5 s; later, the latter 5.4 s
 * instead of 6.1 s.
 */
const saving = ['--heap-growing-percent=20', '--semi-space-growth-factor=1'] as const;
setFlags(...saving, '--no-wasm-tier-up', '--no-wasm-dynamic-tiering');
let looks = lookForMs / lookEveryMs;
const looking = setInterval(look, lookEveryMs).unref();

function look(): void {
  const isLarge = getHeapStatistics().used_heap_size > smallBytes;
  looks--;
  if (!isLarge && looks > 0) return;
  clearInterval(looking);
  if (!isLarge) return saveMemory();
  setFlags('--heap-growing-percent=100', '--semi-space-growth-factor=2');
  setTimeout(saveMemory, startMs).unref();
}

function saveMemory(): void {
  setFlags(...saving, '--optimize-for-size');
}

function setFlags(...flags: readonly string[]): void {
  for (const flag of flags) setFlagsFromString(flag);
}

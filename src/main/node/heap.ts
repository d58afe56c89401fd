import { getHeapStatistics, setFlagsFromString } from 'node:v8';

/** A start with 10,000 Services and their first plan take less. */
const startMs = 60_000;
/** By then a start with thousands of Services uses more than {@link smallBytes}; one with 1,000 uses 36 MB at most. */
const lookMs = 8_000;
const smallBytes = 40e6;

/*
 * Imported before all that allocates.
 *
 * A start with thousands of Services allocates in seconds what is kept then: the old space may grow to twice of what is in use between
 * two collections, and the space for young objects to 8 MB (`--max-semi-space-size`, in the first line of the bundle). With 10,000
 * Services the former took 8.2 s of processor time instead of 11.5 s; later, the latter 5.4 s instead of 6.1 s.
 *
 * Afterwards, and with fewer Services after the first seconds, memory counts: 1,000 Services that are created in the first minute have
 * 115 MB instead of 144 MB.
 *
 * - The space for young objects grows no more, and V8 makes it smaller while little is due. furiwake's objects live for
 *   one turn, so a small space that is collected more often is enough.
 * - The old space may grow by a fifth of what is in use.
 * - Optimising undici's HTTP parser, which is WebAssembly, would keep 10 MB permanently.
 */
setFlags('--heap-growing-percent=100', '--no-wasm-tier-up', '--no-wasm-dynamic-tiering');
setTimeout(() => {
  if (getHeapStatistics().used_heap_size < smallBytes) saveMemory();
  else setTimeout(saveMemory, startMs - lookMs).unref();
}, lookMs).unref();

function saveMemory(): void {
  setFlags('--optimize-for-size', '--heap-growing-percent=20', '--semi-space-growth-factor=1');
}

function setFlags(...flags: readonly string[]): void {
  for (const flag of flags) setFlagsFromString(flag);
}

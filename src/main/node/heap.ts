import { setFlagsFromString } from 'node:v8';

/*
 * Imported before everything else, for memory: 203 → 123 MB at most while 1,000 Services are met, for 0.8 s of CPU.
 *
 * - V8 doubles the space for young objects up to 3 × 64 MB after a burst and keeps it; what furiwake allocates lives for
 *   a turn, so a small space that is collected more often will do.
 * - The old space may grow by a fifth beyond what is in use, not by half of it and more.
 * - Optimising undici's HTTP parser, which is WebAssembly, leaves 10 MB behind for ever.
 */
for (const flag of [
  '--semi-space-growth-factor=1',
  '--heap-growing-percent=20',
  '--no-wasm-tier-up',
  '--no-wasm-dynamic-tiering',
])
  setFlagsFromString(flag);

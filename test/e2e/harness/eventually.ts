import { vi } from 'vitest';

/** Looks again every 100 ms until `check` no longer throws, and gives its value; after `timeoutMs` its last error. */
export function eventually<T>(check: () => Promise<T> | T, timeoutMs = 30_000): Promise<T> {
  return vi.waitFor(check, { timeout: timeoutMs, interval: 100 });
}

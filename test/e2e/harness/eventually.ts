import { vi } from 'vitest';

/**
 * Repeats `check` every 100 ms until it no longer throws, and returns its value; after `timeoutMs` throws its last
 * error.
 */
export function eventually<T>(check: () => Promise<T> | T, timeoutMs = 30_000): Promise<T> {
  return vi.waitFor(check, { timeout: timeoutMs, interval: 100 });
}

import type { Files } from '../ports/files.ts';

const fallbackLimit = 1_024;
const unlimited = 1_048_576;

/** The number of descriptors that a child process may open (hard limit of `RLIMIT_NOFILE`). */
export async function descriptorLimit(files: Files): Promise<number> {
  const text = (await files.read('/proc/self/limits')) ?? '';
  const hard = /^Max open files\s+(?:\d+|unlimited)\s+(\d+|unlimited)/m.exec(text)?.[1];
  if (hard === undefined) return fallbackLimit;
  return hard === 'unlimited' ? unlimited : Number(hard);
}

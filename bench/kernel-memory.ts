import { readFile } from 'node:fs/promises';

/**
 * Memory (10⁶ bytes) that the kernel has in objects of its general caches and in large areas: the elements of nft's sets are in the
 * former, the buckets of their hash tables in both. Of the whole machine: only differences within a short time say something.
 */
export async function readKernelMb(): Promise<number> {
  const [slabs, memory] = await Promise.all(['slabinfo', 'meminfo'].map((name) => readFile(`/proc/${name}`, 'utf8')));
  const objects = Array.from(
    slabs?.matchAll(/^kmalloc-\S+ +(\d+) +\d+ +(\d+) /gm) ?? [],
    ([, count, size]) => Number(count) * Number(size),
  );
  const areasKib = /^VmallocUsed: +(\d+) kB$/m.exec(memory ?? '')?.[1];
  return (objects.reduce((sum, bytes) => sum + bytes, 0) + Number(areasKib) * 1024) / 1e6;
}

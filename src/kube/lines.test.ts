import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LineError, readLines } from './lines.ts';

async function* chunksOf(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

async function linesOf(parts: readonly Uint8Array[]): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of readLines(chunksOf(parts))) lines.push(line);
  return lines;
}

const linesIn = (...parts: readonly string[]): Promise<string[]> =>
  linesOf(parts.map((part) => new TextEncoder().encode(part)));

test('yields each line once, without the newline and without empty ones', async () => {
  expect(await linesIn('one\ntwo\n', '\n', 'th', 'ree\n')).toEqual(['one', 'two', 'three']);
});

test('yields no line for an empty stream', async () => {
  expect(await linesIn()).toEqual([]);
});

test('refuses a stream that ends within a line, after the lines before it', async () => {
  const lines = readLines(chunksOf([new TextEncoder().encode('one\n{"half":')]));
  expect((await lines.next()).value).toBe('one');
  await expect(lines.next()).rejects.toThrow(LineError);
});

test('refuses a line that exceeds the limit before it ends', async () => {
  const lines = readLines(chunksOf([new TextEncoder().encode('x'.repeat(11))]), 10);
  await expect(lines.next()).rejects.toThrow(LineError);
});

test('joins any text, however it is split into chunks', async () => {
  const line = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !text.includes('\n'));
  await fc.assert(
    fc.asyncProperty(fc.array(line), fc.array(fc.nat({ max: 200 })), async (lines, cuts) => {
      const bytes = new TextEncoder().encode(lines.map((text) => `${text}\n`).join(''));
      const ends = [...cuts.filter((cut) => cut < bytes.length), bytes.length].toSorted((a, b) => a - b);
      const parts = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
      expect(await linesOf(parts)).toEqual(lines);
    }),
  );
});

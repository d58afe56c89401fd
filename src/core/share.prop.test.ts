import fc from 'fast-check';
import { expect, test } from 'vitest';
import { share } from './share.ts';

const data = fc.jsonValue({ maxDepth: 4 });

test('the result equals the new value for any old value', () => {
  fc.assert(
    fc.property(data, data, (prev, next) => {
      expect(share(prev, next)).toEqual(next);
    }),
  );
});

test('a copy of the old value is the old value', () => {
  fc.assert(
    fc.property(data, (value) => {
      expect(share(value, structuredClone(value))).toBe(value);
    }),
  );
});

test('equal parts keep their identity beside a changed one', () => {
  fc.assert(
    fc.property(data, data, (same, other) => {
      const prev = { same, list: [same, 1], other: [other, 1] };
      const next = share(prev, structuredClone({ ...prev, other: [other, 2] }));
      expect(next.same).toBe(prev.same);
      expect(next.list).toBe(prev.list);
      expect(next).not.toBe(prev);
    }),
  );
});

test('a new value that has nothing of the old one stays itself, also if other objects have it', () => {
  const constant = ['a', 'b'];
  expect(share({ list: [] as string[] }, { list: constant }).list).toBe(constant);
  expect(share(['c'], constant)).toBe(constant);
  const condition = { type: 'Serving', status: 'True' };
  const next = { spec: { port: 80 }, conditions: [condition] };
  const prev = { spec: { port: 80 }, conditions: [{ type: 'Serving', status: 'False' }] };
  expect(share(prev, next).conditions).toBe(next.conditions);
  expect(share(prev, next).conditions[0]).toBe(condition);
});

test('neither value is changed', () => {
  fc.assert(
    fc.property(data, data, (prev, next) => {
      const before = structuredClone([prev, next]);
      share(prev, next);
      expect([prev, next]).toEqual(before);
    }),
  );
});

test.each([
  ['a removed key', { a: 1, b: undefined }, { a: 1 }],
  ['a new key with the value undefined', { a: 1 }, { a: 1, b: undefined }],
  ['a replaced key', { a: undefined }, { b: undefined }],
  ['a shorter list', [1, 2], [1]],
  ['a list for an object', [], {}],
] as const)('%s is a change', (_name, prev, next) => {
  expect(share<unknown>(prev, next)).not.toBe(prev);
});

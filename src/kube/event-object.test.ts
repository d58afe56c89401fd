import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cutNote, eventBody, eventName } from './event-object.ts';

const sizeOf = (text: string): number => new TextEncoder().encode(text).length;

test('a note is never longer than 1,024 bytes, and never cut within a character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 2_000 }), (note) => {
      const cut = cutNote(note);
      expect(sizeOf(cut)).toBeLessThanOrEqual(1_024);
      expect(sizeOf(note) <= 1_024 ? cut === note : note.startsWith(cut.slice(0, -1)) && cut.endsWith('…')).toBe(true);
    }),
    { examples: [['\uFFFD'], [`\uFEFF${'x'.repeat(1_100)}`]] },
  );
});

test.each([
  ['a letter of three bytes', '振'.repeat(400), 340],
  ['a letter of four bytes', '😀'.repeat(300), 255],
])('%s is kept whole or omitted', (_name, note, kept) => {
  expect(Array.from(cutNote(note))).toHaveLength(kept + 1);
});

test('the name of an event keeps within 253 characters and ends no part with a dash or a dot', () => {
  expect(eventName('web', 'abc')).toBe('web.abc');
  expect(eventName(`${'x'.repeat(240)}-.${'y'.repeat(11)}`, 'f'.repeat(10))).toBe(
    `${'x'.repeat(240)}.${'f'.repeat(10)}`,
  );
  expect(eventName('x'.repeat(253), 'f'.repeat(18))).toHaveLength(253);
});

test('events of an object without a namespace live in default', () => {
  const regarding = { apiVersion: 'v1', kind: 'Node', name: 'n1', uid: 'u' };
  const facts = { regarding, type: 'Warning', reason: 'NodeWithoutAddress', action: 'Plan', note: 'x' } as const;
  const rest = { suffix: 'f', nowMs: 0, reportingController: 'furiwake.dev/c', reportingInstance: 'h'.repeat(200) };
  expect(eventBody(facts, rest)).toMatchObject({
    metadata: { namespace: 'default' },
    reportingInstance: 'h'.repeat(128),
  });
});

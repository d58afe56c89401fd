import { expect, test } from 'vitest';
import { portList, portWords, sentences, shortened } from './sentences.ts';

test('the same fact is said once', () => {
  const verdict = { reason: 'PortConflict', message: 'port 80 is in use' } as const;
  expect(sentences([verdict, { ...verdict }])).toBe('port 80 is in use');
});

test('a long text is cut between words', () => {
  const text = shortened('word '.repeat(400));
  expect(text.length).toBeLessThanOrEqual(1024);
  expect(text.endsWith('word…')).toBe(true);
  expect(shortened('short')).toBe('short');
  expect(shortened('x'.repeat(2000))).toHaveLength(1024);
});

test.each([
  [[80], '80'],
  [[443, 80, 80], '80, 443'],
  [[1, 2, 3, 5, 7, 8], '1-3, 5, 7, 8'],
  [[], ''],
])('ports %j are shown as %s', (ports, shown) => {
  expect(portList(ports)).toBe(shown);
});

test('one port is a port, several are ports', () => {
  expect([portWords([80, 80]), portWords([80, 443])]).toEqual(['port 80', 'ports 80, 443']);
});

import { fstatSync } from 'node:fs';
import { expect, test } from 'vitest';
import { defaultFormat, isJournal, type LogDeps, makeLog } from './log.ts';

/** The output for a warning and an error. */
function lines(options: Partial<LogDeps>): readonly string[] {
  const written: string[] = [];
  const log = makeLog({
    level: 'info',
    format: 'text',
    isColoured: false,
    write: (text) => written.push(text),
    onFailing: () => undefined,
    ...options,
  });
  log.debug({}, 'not shown');
  log.warn({ service: 'shop/web', note: 'two words', count: 3 }, 'address taken');
  log.error({ err: Object.assign(new Error('no\nluck'), { code: 'EIO' }) }, 'the disk failed');
  log.warn({ err: 'nft: no' }, 'listener refused');
  return written;
}

test('for a terminal: time, level, message, fields', () => {
  const [warning = '', error = ''] = lines({ format: 'text' });
  expect(warning).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} WARN {2}address taken {2}service=shop\/web note="two words" count=3\n$/,
  );
  expect(error).toMatch(/ ERROR the disk failed {2}error="no\\nluck"\n$/);
  const [coloured = ''] = lines({ isColoured: true });
  expect([coloured.slice(0, 5), coloured.slice(-5)]).toEqual(['\u001b[33m', '\u001b[0m\n']);
});

test('for the journal: the priority of syslog, no time, one line each', () => {
  expect(lines({ format: 'journal' })).toEqual([
    '<4>address taken  service=shop/web note="two words" count=3\n',
    '<3>the disk failed  error="no\\nluck"\n',
    '<4>listener refused  error="nft: no"\n',
  ]);
  expect(lines({ format: 'journal', level: 'debug' })[0]).toBe('<7>not shown\n');
});

test.each(['text', 'journal'] as const)('as %s, a message is one line, whatever it quotes', (format) => {
  const written: string[] = [];
  const write = (text: string): void => void written.push(text);
  const log = makeLog({ level: 'info', format, isColoured: false, write, onFailing: () => undefined });
  log.warn({}, 'nft: no\n<3>forged\u001b[2J');
  expect(written).toEqual([expect.stringMatching(/^[^\n]*nft: no <3>forged \[2J\n$/)]);
});

test('for programs: an object per line', () => {
  expect(lines({ format: 'json' }).map((line) => JSON.parse(line) as unknown)).toMatchObject([
    { level: 'warn', msg: 'address taken', service: 'shop/web', count: 3, time: expect.any(String) },
    { level: 'error', msg: 'the disk failed', err: { code: 'EIO', message: 'no\nluck' } },
    { level: 'warn', err: 'nft: no' },
  ]);
});

test.each([
  ['run', 'other', 'json'],
  ['run', 'terminal', 'text'],
  ['run', 'journal', 'journal'],
  ['cleanup', 'other', 'text'],
  ['check', 'journal', 'journal'],
] as const)('%s with its log on a stream %s writes %s by default', (command, stream, expected) => {
  expect(defaultFormat(command, stream)).toBe(expected);
});

test('the journal is recognised by its device and inode, not by the variable alone, which children inherit', () => {
  const { dev, ino } = fstatSync(0);
  expect(isJournal(`${dev}:${ino}`, 0)).toBe(true);
  expect(isJournal(`${dev}:${ino + 1}`, 0)).toBe(false);
  expect(isJournal(undefined, 0)).toBe(false);
});

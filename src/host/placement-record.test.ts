import { expect, test } from 'vitest';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Files } from '../ports/files.ts';
import { makeRecordFile, readRecord, writeRecord } from './record.ts';

function memory(): Files & { readonly texts: Map<string, string> } {
  const texts = new Map<string, string>();
  return { ...filesOf(texts), texts };
}

test('what was written is read again', async () => {
  const files = memory();
  const record = PersistentMap.from([
    ['192.0.2.50', 'furiwake0'],
    ['2001:db8::50', 'eth0'],
  ]);
  await writeRecord(files, '/state/addresses.json', record);
  expect(await readRecord(files, '/state/addresses.json')).toEqual(record);
});

test('no file is an empty record, and an empty record no file', async () => {
  const files = memory();
  expect(await readRecord(files, '/state/addresses.json')).toEqual(PersistentMap.empty());
  await writeRecord(files, '/state/addresses.json', PersistentMap.from([['192.0.2.50', 'furiwake0']]));
  await writeRecord(files, '/state/addresses.json', PersistentMap.empty());
  expect(files.texts.size).toBe(0);
});

test.each(['', '{', 'null', '{}', '{"version":2,"addresses":[]}', '{"version":1,"addresses":[{}]}'])(
  'a file with %j is refused, with where it is',
  async (text) => {
    const files = memory();
    files.texts.set('/state/addresses.json', text);
    await expect(readRecord(files, '/state/addresses.json')).rejects.toMatchObject({
      name: 'SyntaxError',
      message: expect.stringMatching(/^\/state\/addresses\.json: .*: remove the file/),
    });
  },
);

test('one who must go on takes such a file as empty, says so once, and writes it anew', async () => {
  const files = memory();
  const log = recordLog();
  const file = makeRecordFile({ files, path: '/state/addresses.json', log });
  files.texts.set('/state/addresses.json', '{"version":1,"addr');
  for (let times = 0; times < 2; times++) expect(await file.read()).toEqual(PersistentMap.empty());
  expect(log.lines.map(({ fields }) => String(fields['err']))).toEqual([
    expect.stringContaining('/state/addresses.json'),
  ]);
  const record = PersistentMap.from([['192.0.2.50', 'furiwake0']]);
  await file.write(record);
  expect(await file.read()).toEqual(record);
});

import { expect, test } from 'vitest';
import { filesOf } from '../../test/sim/harness.ts';
import { makeKeptFiles } from './kept-files.ts';

test('files that were read, written and appended to are written again when they are missing; removed ones are not', async () => {
  const texts = new Map([['/state/read', 'r']]);
  const kept = makeKeptFiles(filesOf(texts));
  await kept.read('/state/read');
  await kept.read('/state/none');
  await kept.write('/state/written', 'w');
  await kept.append('/state/written', 'a');
  await kept.write('/state/removed', 'x');
  await kept.remove('/state/removed');
  const expected = new Map([
    ['/state/read', 'r'],
    ['/state/written', 'wa'],
  ]);
  expect(texts).toEqual(expected);

  texts.clear();
  await kept.makeFolder('/state');
  await kept.restore();
  expect(texts).toEqual(expected);
  texts.set('/state/read', 'changed by an administrator');
  await kept.restore();
  expect(texts.get('/state/read')).toBe('changed by an administrator');
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeTestLog, silent } from '../../test/make/log.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { makeMapFile, type MapFile, NewerFileError } from './map-file.ts';

type Thing = { readonly name: string; readonly size: number; readonly note: string };

const path = '/state/things.jsonl';
const key = fc.constantFrom('a', 'b', 'c', 'gone', '__proto__', 'é');
/** With whatever a name may hold. */
const thing = fc.record({ name: key, size: fc.nat(3), note: fc.constantFrom('', '\n', '"}', '\u2028') });
/** Things that come or change, and names of those that go. */
const step = fc.tuple(fc.array(thing, { maxLength: 3 }), fc.array(key, { maxLength: 2 }));
const history = fc.array(step, { maxLength: 8 });

function things(files: Files, log: Log = silent): MapFile<string, Thing> {
  return makeMapFile<string, Thing>({
    path,
    name: 'things',
    version: 1,
    files,
    log,
    encode: (one) => ({ ...one }),
    decode: (fields) => {
      const one = fields as Thing;
      if (typeof one.size !== 'number') throw new Error('no size');
      return [one.name, one];
    },
  });
}

function after(
  map: PersistentMap<string, Thing>,
  [come, go]: readonly [readonly Thing[], readonly string[]],
): typeof map {
  return map.with(come.map((one) => [one.name, one])).with(go.map((name) => [name, undefined]));
}

test('what is read is what was written last', async () => {
  await fc.assert(
    fc.asyncProperty(history, async (steps) => {
      const texts = new Map<string, string>();
      const file = things(filesOf(texts));
      let map = PersistentMap.empty<string, Thing>();
      for (const each of steps) {
        map = after(map, each);
        await file.write(map);
        const read = await things(filesOf(texts)).read();
        expect(new Map(read ?? [])).toEqual(new Map(map));
      }
    }),
  );
});

test('a write that a crash or a full disk cuts short leaves each entry as it was or as it became, and the next one all', async () => {
  await fc.assert(
    fc.asyncProperty(history, step, step, fc.nat(300), async (steps, cut, last, length) => {
      const texts = new Map<string, string>();
      const files = filesOf(texts);
      let isFull = false;
      const file = things({
        ...files,
        append: async (to, text) => {
          await files.append(to, isFull ? text.slice(0, length) : text);
          if (isFull) throw new Error('ENOSPC');
        },
        write: async (to, text) => {
          if (isFull) throw new Error('ENOSPC');
          await files.write(to, text);
        },
      });
      let map = PersistentMap.empty<string, Thing>();
      for (const each of steps) await file.write((map = after(map, each)));
      await file.write(map);
      const before = map;
      map = after(map, cut);
      isFull = true;
      await file.write(map).catch(() => undefined);
      const read = (await things(files).read()) ?? PersistentMap.empty();
      for (const name of new Set([...before.keys(), ...map.keys(), ...read.keys()])) {
        expect([before.get(name), map.get(name)]).toContainEqual(read.get(name));
      }
      isFull = false;
      await file.write((map = after(map, last)));
      expect(new Map((await things(files).read()) ?? [])).toEqual(new Map(map));
    }),
  );
});

test('a file that was removed is written again as a whole', async () => {
  const texts = new Map<string, string>();
  const files = filesOf(texts);
  const file = things({
    ...files,
    append: async (to, text) => {
      if (!texts.has(to)) throw new Error('ENOENT');
      await files.append(to, text);
    },
  });
  const one = { name: 'a', size: 1, note: '' };
  const other = { name: 'b', size: 1, note: '' };
  await file.write(PersistentMap.from([['a', one]]));
  texts.clear();
  await file.write(
    PersistentMap.from([
      ['a', one],
      ['b', other],
    ]),
  );
  expect(await things(files).read()).toEqual(
    PersistentMap.from([
      ['a', one],
      ['b', other],
    ]),
  );
});

test('many changes do not make the file grow for ever', async () => {
  const texts = new Map<string, string>();
  const file = things(filesOf(texts));
  for (let size = 0; size < 10_000; size++)
    await file.write(PersistentMap.from([['a', { name: 'a', size: -size, note: '' }]]));
  expect(texts.get(path)?.length).toBeLessThan(140_000);
});

test.each(['{', '[]', '{"name":"a"}', 'null'])(
  'a line that is %s is left out and logged with its place',
  async (line) => {
    const whole = '{"name":"a","size":1,"note":""}\n';
    const texts = new Map([[path, `{"file":"things","version":1}\n${whole}${line}\n${whole.replace('"a"', '"b"')}`]]);
    const { log, records } = makeTestLog();
    const read = await things(filesOf(texts), log).read();
    expect([...(read?.keys() ?? [])]).toEqual(['a', 'b']);
    expect(records).toMatchObject([{ level: 'error', fields: { file: `${path}:3`, lines: 1 } }]);
  },
);

test('a file of a later release is refused, and stays', async () => {
  const text = '{"file":"things","version":2}\n{"whatever":1}\n';
  const texts = new Map([[path, text]]);
  await expect(things(filesOf(texts)).read()).rejects.toThrow(NewerFileError);
  expect(texts.get(path)).toBe(text);
});

test('no file is no map', async () => {
  expect(await things(filesOf(new Map())).read()).toBeUndefined();
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Files } from '../ports/files.ts';
import { makeMapFile, type MapFile } from './map-file.ts';

type NamedEntry = { readonly name: string; readonly size: number; readonly note: string };

const path = '/state/things.jsonl';
const key = fc.constantFrom('a', 'b', 'c', 'gone', '__proto__', 'é');
/** With all characters that a name may contain. */
const thing = fc.record({ name: key, size: fc.nat(3), note: fc.constantFrom('', '\n', '"}', '\u2028') });
/** Things that are added or changed, and names of removed ones. */
const step = fc.tuple(fc.array(thing, { maxLength: 3 }), fc.array(key, { maxLength: 2 }));
const history = fc.array(step, { maxLength: 8 });

function things(files: Files, log = recordLog()): MapFile<string, NamedEntry> {
  return makeMapFile<string, NamedEntry>({
    path,
    name: 'things',
    version: 2,
    files,
    log,
    encode: (one) => ({ ...one }),
    decode: (fields) => {
      const one = fields as NamedEntry;
      if (typeof one.size !== 'number') throw new Error('no size');
      return [one.name, one];
    },
  });
}

function after(
  map: PersistentMap<string, NamedEntry>,
  [come, go]: readonly [readonly NamedEntry[], readonly string[]],
): typeof map {
  return map.with(come.map((one) => [one.name, one])).with(go.map((name) => [name, undefined]));
}

test('the last written map is read back', async () => {
  await fc.assert(
    fc.asyncProperty(history, async (steps) => {
      const texts = new Map<string, string>();
      const file = things(filesOf(texts));
      let map = PersistentMap.empty<string, NamedEntry>();
      for (const each of steps) {
        map = after(map, each);
        await file.write(map);
        const read = await things(filesOf(texts)).read();
        expect(new Map(read ?? [])).toEqual(new Map(map));
      }
    }),
  );
});

test('a write that a crash or a full disk cuts short leaves each entry old or new, and the next write completes the map', async () => {
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
      let map = PersistentMap.empty<string, NamedEntry>();
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

test('a removed file is written again completely', async () => {
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

test('many changes do not make the file grow forever', async () => {
  const texts = new Map<string, string>();
  const file = things(filesOf(texts));
  for (let size = 0; size < 10_000; size++)
    await file.write(PersistentMap.from([['a', { name: 'a', size: -size, note: '' }]]));
  expect(texts.get(path)?.length).toBeLessThan(140_000);
});

test('bytes may be torn, lost or overwritten: every complete line still counts', async () => {
  const names = ['a', 'b', 'c', 'd'];
  const map = PersistentMap.from(names.map((name) => [name, { name, size: 1, note: '' }]));
  await fc.assert(
    fc.asyncProperty(fc.nat(3), fc.nat(200), fc.string({ unit: 'binary' }), async (victim, at, noise) => {
      const texts = new Map<string, string>();
      await things(filesOf(texts)).write(map);
      const lines = (texts.get(path) ?? '').split('\n');
      const name = (JSON.parse(lines[victim + 1] ?? '') as NamedEntry).name;
      lines[victim + 1] = `${lines[victim + 1]?.slice(0, at % 20)}${noise.replaceAll(/[\n{}]/g, '')}`;
      texts.set(path, lines.join('\n'));
      const log = recordLog();
      const read = await things(filesOf(texts), log).read();
      expect(new Set(read?.keys())).toEqual(new Set(names.filter((each) => each !== name)));
      expect(log.lines).toHaveLength(1);
    }),
  );
});

const header = '{"file":"things","version":2}';
const line = '{"name":"a","size":1,"note":""}';

test.each([
  ['a truncated line', [header, '{', line], 2],
  ['a line that is a list', [header, '[]', line], 2],
  ['a line of another form', [header, line, '{"name":"a"}'], 3],
  ['null', [header, line, 'null'], 3],
  ['a torn header', ['{"file":"thi', line], 1],
])('%s is logged once, with its place, and the others count', async (_, lines, place) => {
  const log = recordLog();
  const read = await things(filesOf(new Map([[path, `${lines.join('\n')}\n`]])), log).read();
  expect([...(read?.keys() ?? [])]).toEqual(['a']);
  expect(log.lines).toMatchObject([{ level: 'error', fields: { file: `${path}:${place}`, lines: 1 } }]);
});

test('a last line without an end is skipped silently: a crash cut it before furiwake acted on it', async () => {
  const log = recordLog();
  const read = await things(filesOf(new Map([[path, `${header}\n${line}\n{"name":"b","si`]])), log).read();
  expect([[...(read?.keys() ?? [])], log.lines]).toEqual([['a'], []]);
});

test.each([
  [1, ['a']],
  [2, ['a']],
])('version %d is read', async (version, names) => {
  const texts = new Map([[path, `{"file":"things","version":${version}}\n${line}\n`]]);
  expect([...((await things(filesOf(texts)).read())?.keys() ?? [])]).toEqual(names);
});

test('a newer version is refused, and the file stays as it is', async () => {
  const text = `{"file":"things","version":3}\n${line}\n`;
  const texts = new Map([[path, text]]);
  await expect(things(filesOf(texts)).read()).rejects.toMatchObject({
    code: 'NEWER_FILE',
    message: `${path} was written by a newer release (version 3, this one reads up to version 2): start the newer release, or run its \`furiwake cleanup\` before going back`,
  });
  expect(texts.get(path)).toBe(text);
});

test('without a file there is no map', async () => {
  expect(await things(filesOf(new Map())).read()).toBeUndefined();
});

import { expect, test } from 'vitest';
import { ledgerContract, recordOf } from '../../test/contract/ledger.ts';
import { makeFakeLedger } from '../../test/make/fake-ledger.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { FileError, type Files } from '../ports/files.ts';
import { type FileLedger, makeFileLedger } from './ledger.ts';

const { signal } = new AbortController();
const path = '/state/ledger.jsonl';
const earlierPath = '/state/records.jsonl';

function openLedger(files: Files, log = recordLog(), clock = virtualClock()): FileLedger {
  return makeFileLedger({ path, earlierPath, files, clock, log });
}

ledgerContract('file', () => {
  const files = filesOf(new Map());
  let failure: string | undefined;
  const fails =
    (work: (at: string, text: string) => Promise<void>) =>
    async (at: string, text: string): Promise<void> => {
      if (failure !== undefined) throw new Error(failure);
      await work(at, text);
    };
  return {
    open: () =>
      openLedger({
        ...files,
        write: fails((at, text) => files.write(at, text)),
        append: fails((at, text) => files.append(at, text)),
      }),
    failWith: (message) => {
      failure = message;
    },
  };
});

ledgerContract('fake', () => {
  const ledger = makeFakeLedger();
  return { open: () => ledger, failWith: ledger.failWith };
});

const [uid, record] = recordOf('a', '192.0.2.1');

test('damaged lines are skipped and logged once with their line number; every other record counts', async () => {
  const texts = new Map<string, string>();
  await openLedger(filesOf(texts)).commit(new Map([recordOf('a', '192.0.2.1')]), signal);
  await openLedger(filesOf(texts)).read();
  const good = texts.get(path) ?? '';
  texts.set(
    path,
    `${good}\u0000\u0000\u0000\n{"uid":"uid-b","service":"default/b","addresses":["nonsense"],"listeners":[]}\n`,
  );
  const log = recordLog();
  const ledger = openLedger(filesOf(texts), log);
  expect(new Map(await ledger.read())).toEqual(new Map([[uid, record]]));
  expect(log.lines).toHaveLength(1);
  expect(log.lines[0]).toMatchObject({
    level: 'error',
    message: 'damaged lines in a state file; using all others',
    fields: { file: `${path}:3`, lines: 2, why: 'the line is not JSON' },
  });
  await ledger.commit(new Map([recordOf('c', '192.0.2.3')]), signal);
  await openLedger(filesOf(texts), log).read();
  expect(log.lines).toHaveLength(1); // the commit rewrote the file
});

test('a file that a newer release wrote is refused by name, with both versions and what to do', async () => {
  const texts = new Map([[path, '{"file":"ledger","version":3}\n{"owner":"default/web"}\n']]);
  const refusal = {
    code: 'NEWER_FILE',
    message: expect.stringMatching(
      /^\/state\/ledger\.jsonl was written by a newer release \(version 3, this one reads up to version 2\): .*furiwake cleanup/,
    ),
  };
  await expect(openLedger(filesOf(texts)).read()).rejects.toMatchObject(refusal);
  await expect(openLedger(filesOf(texts)).assertVersion()).rejects.toMatchObject(refusal);
  await openLedger(filesOf(new Map())).assertVersion();
});

test('the records of release 0.1.0 are read where there is no ledger, and removed once there is one', async () => {
  const earlier = `{"uid":"uid-a","service":"default/a","addresses":["192.0.2.1"],"listeners":["192.0.2.1|80|TCP"]}\n`;
  const texts = new Map([[earlierPath, earlier]]);
  const ledger = openLedger(filesOf(texts));
  expect(new Map(await ledger.read())).toEqual(new Map([[uid, record]]));
  expect([...texts.keys()]).toEqual([earlierPath]);
  await ledger.commit(new Map([recordOf('b', '192.0.2.2')]), signal);
  expect([...texts.keys()]).toEqual([path]);
  expect((await openLedger(filesOf(texts)).read()).size).toBe(2);
});

test.each([
  ['EROFS', 'read-only file system'],
  ['ENOSPC', 'no space left on device'],
])(
  'a disk that refuses a commit with %s is reported as %j: the condition of a Service has these words',
  async (code, words) => {
    const refused = new FileError('cannot write /state/ledger.jsonl', { code, words, cause: undefined });
    const fail = (): Promise<never> => Promise.reject(refused);
    const ledger = openLedger({ ...filesOf(new Map()), write: fail, append: fail });
    const [key, changed] = recordOf('a', '192.0.2.1');
    expect(await ledger.commit(new Map([[key, changed]]), signal)).toEqual(new Map([[key, words]]));
  },
);

test('a commit does not wait for the disk; flushes run one at a time and at least 0.2 s apart, one for all commits meanwhile', async () => {
  const flushes: PromiseWithResolvers<void>[] = [];
  const files: Files = {
    ...filesOf(new Map()),
    sync: () => {
      const flush = Promise.withResolvers<void>();
      flushes.push(flush);
      return flush.promise;
    },
  };
  const clock = virtualClock();
  const ledger = openLedger(files, recordLog(), clock);
  for (const name of ['a', 'b', 'c']) await ledger.commit(new Map([recordOf(name, '192.0.2.1')]), signal);
  await clock.advance(1_000);
  expect(flushes).toHaveLength(1);
  flushes[0]?.resolve();
  await clock.advance(199);
  await ledger.commit(new Map([recordOf('d', '192.0.2.1')]), signal);
  expect(flushes).toHaveLength(1);
  await clock.advance(1);
  expect(flushes).toHaveLength(2);
  flushes[1]?.resolve();
  await clock.advance(1_000);
  expect(flushes).toHaveLength(2);
  await ledger.commit(new Map([recordOf('e', '192.0.2.1')]), signal);
  await clock.advance(0);
  expect(flushes).toHaveLength(3);
});

test('the end of a term leaves no commit unflushed: not those of the pause, nor those of the next term', async () => {
  const flushes: PromiseWithResolvers<void>[] = [];
  let [count, isHanging] = [0, false];
  const files: Files = {
    ...filesOf(new Map()),
    sync: async () => {
      count++;
      if (!isHanging) return;
      const flush = Promise.withResolvers<void>();
      flushes.push(flush);
      await flush.promise;
    },
  };
  const clock = virtualClock();
  const ledger = openLedger(files, recordLog(), clock);
  const terms = [new AbortController(), new AbortController()] as const;
  const commit = (name: string, { signal: until }: AbortController): Promise<unknown> =>
    ledger.commit(new Map([recordOf(name, '192.0.2.1')]), until);
  await commit('a', terms[0]);
  await clock.advance(100);
  await commit('b', terms[0]);
  expect(count).toBe(1);
  terms[0].abort();
  await clock.advance(0);
  expect(count).toBe(2);
  isHanging = true;
  await commit('c', terms[1]);
  await clock.advance(0);
  terms[1].abort();
  await commit('d', new AbortController());
  isHanging = false;
  flushes[0]?.resolve();
  await clock.advance(0);
  expect(count).toBe(4);
});

test('after the end of a term a failed flush is not repeated', async () => {
  const term = new AbortController();
  let attempts = 0;
  const files: Files = {
    ...filesOf(new Map()),
    sync: async () => {
      attempts++;
      throw new Error('EIO: i/o error, fdatasync');
    },
  };
  const clock = virtualClock();
  const ledger = openLedger(files, recordLog(), clock);
  await ledger.commit(new Map([recordOf('a', '192.0.2.1')]), term.signal);
  await clock.advance(10);
  term.abort();
  await clock.advance(60_000);
  expect(attempts).toBe(1);
  await ledger.commit(new Map([recordOf('b', '192.0.2.1')]), signal);
  await clock.advance(0);
  expect(attempts).toBe(2);
});

test('a failed flush is retried after growing waits without a new commit, and logged once, and again when it works', async () => {
  let attempts = 0;
  let isBroken = true;
  const files: Files = {
    ...filesOf(new Map()),
    sync: async () => {
      attempts++;
      if (isBroken) throw new Error('EIO: i/o error, fdatasync');
    },
  };
  const log = recordLog();
  const clock = virtualClock();
  await openLedger(files, log, clock).commit(new Map([recordOf('a', '192.0.2.1')]), signal);
  await clock.advance(40_000);
  expect(attempts).toBeGreaterThan(3);
  expect(attempts).toBeLessThan(8);
  isBroken = false;
  await clock.advance(60_000);
  const before = attempts;
  await clock.advance(600_000);
  expect(attempts).toBe(before);
  expect(log.lines.map(({ message }) => message)).toEqual([
    'flushing the ledger to the disk failed; retrying',
    'flushing the ledger to the disk works again',
  ]);
});

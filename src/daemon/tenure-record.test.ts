import { expect, test } from 'vitest';
import { runFor } from '../../test/make/run-for.ts';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { Tenure } from '../kube/lease-object.ts';
import type { Files } from '../ports/files.ts';
import { loadTenureRecord, type Succession, type TenureRecord } from './tenure-record.ts';

const path = '/state/tenure.jsonl';
const ledgerPath = '/state/ledger.jsonl';

const clock = virtualClock();

function load(
  files: Files,
  { identity = 'lb1_a', hostname = 'lb1', leaseName = 'furiwake-a', log = recordLog() } = {},
): Promise<TenureRecord> {
  return loadTenureRecord({ path, ledgerPath, leaseName, identity, hostname, files, clock, log });
}

/** Keeps tenures, and runs the record for `ms`. */
async function keep(record: TenureRecord, tenures: readonly Tenure[]): Promise<void> {
  for (const each of tenures) record.keep(each);
  await runFor(record, clock, 0);
}

const tenure = (transitions: number, holder = 'lb1_a', lease = 'uid-1'): Tenure => ({ lease, transitions, holder });

const before: readonly (readonly [string, Tenure | undefined, Succession])[] = [
  ['this host crashed', tenure(4), 'own'],
  ['this host released it', tenure(4, ''), 'own'],
  ['another host let it expire', tenure(5, 'lb2_b'), 'other'],
  ['another host released it', tenure(5, ''), 'other'],
  ['another process of this identity held it, or the record was not written', tenure(5), 'unknown'],
  ['etcd was restored from a backup', tenure(3), 'unknown'],
  ['etcd was restored to a release of an earlier tenure', tenure(3, ''), 'other'],
  ['the Lease was deleted and created by another host, which released it', tenure(4, '', 'uid-2'), 'other'],
  ['the Lease was deleted', undefined, 'unknown'],
];

test.each(before)('when %s, a restart knows it', async (_, lease, succession) => {
  const texts = new Map<string, string>();
  await keep(await load(filesOf(texts)), [tenure(4)]);
  expect((await load(filesOf(texts))).successionTo(lease)).toBe(succession);
});

test('the last recorded tenure counts, in the same process and after a restart', async () => {
  const texts = new Map<string, string>();
  const record = await load(filesOf(texts));
  expect(record.successionTo(tenure(4, ''))).toBe('unknown');
  await keep(record, [tenure(4), tenure(1, 'lb1_a', 'uid-2')]);
  for (const each of [record, await load(filesOf(texts))])
    expect([each.successionTo(tenure(1, '', 'uid-2')), each.successionTo(tenure(4))]).toEqual(['own', 'unknown']);
});

test.each([
  ['a copy of the state directory on another machine', { hostname: 'lb2' }, 'unknown'],
  ['a new identity with the old record', { identity: 'lb1_z' }, 'other'],
])('%s does not continue the tenure', async (_, changed, succession) => {
  const texts = new Map<string, string>();
  await keep(await load(filesOf(texts)), [tenure(4)]);
  expect((await load(filesOf(texts), changed)).successionTo(tenure(4))).toBe(succession);
});

test('while the disk is full a restart does not rely on the tenure, which is written as soon as there is space', async () => {
  const texts = new Map<string, string>();
  const files = filesOf(texts);
  const log = recordLog();
  const freeAtMs = clock.monotonic() + 30_000;
  const write: Files['write'] = (at, text) =>
    clock.monotonic() < freeAtMs ? Promise.reject(new Error('ENOSPC')) : files.write(at, text);
  const record = await load({ ...files, write }, { log });
  record.keep(tenure(4));
  expect([record.successionTo(tenure(4)), (await load(files)).successionTo(tenure(4))]).toEqual(['own', 'unknown']);
  await runFor(record, clock, 59_000);
  expect(log.lines).toMatchObject([{ level: 'error' }, { level: 'info' }]);
  expect((await load(files)).successionTo(tenure(4))).toBe('own');
});

test.each([
  ['a restart', 'boot-1', true],
  ['a boot, or another machine with a copy', 'boot-2', false],
  ['a kernel that does not say its boot ID', undefined, false],
])('after %s the record says whether it is of this boot', async (_, boot, isOfThisBoot) => {
  const bootIdPath = '/proc/sys/kernel/random/boot_id';
  const texts = new Map([[bootIdPath, 'boot-1\n']]);
  const first = await load(filesOf(texts));
  expect(first.isOfThisBoot).toBe(false);
  await keep(first, [tenure(4)]);
  if (boot === undefined) texts.delete(bootIdPath);
  else texts.set(bootIdPath, `${boot}\n`);
  expect((await load(filesOf(texts))).isOfThisBoot).toBe(isOfThisBoot);
});

test('a first start on a kernel that does not say its boot ID counts as after a boot', async () => {
  expect((await load(filesOf(new Map()))).isOfThisBoot).toBe(false);
});

test('a file of a newer release is refused', async () => {
  await expect(load(filesOf(new Map([[path, '{"file":"tenure","version":2}\n']])))).rejects.toMatchObject({
    code: 'NEWER_FILE',
  });
});

test('the ledger is flushed to the disk before the tenure is written', async () => {
  const steps: string[] = [];
  const record = await load({
    ...filesOf(new Map([[ledgerPath, '']])),
    sync: async (at) => void steps.push(`sync ${at}`),
    write: async (at) => void steps.push(`write ${at}`),
  });
  await keep(record, [tenure(4)]);
  expect(steps).toEqual([`sync ${ledgerPath}`, `write ${path}`]);
});

test('the class of before is known until a tenure of the new one is recorded', async () => {
  const texts = new Map<string, string>();
  await keep(await load(filesOf(texts)), [tenure(4)]);
  expect((await load(filesOf(texts))).formerClass).toBeUndefined();
  const changed = { leaseName: 'furiwake-b' };
  const record = await load(filesOf(texts), changed);
  expect(record.formerClass).toMatchObject({ ...tenure(4), leaseName: 'furiwake-a', host: 'lb1' });
  await keep(record, [tenure(0, 'lb1_a', 'uid-2')]);
  expect((await load(filesOf(texts), changed)).formerClass).toBeUndefined();
});

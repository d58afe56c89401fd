import { expect, test } from 'vitest';
import { listener, natListener, tableOf } from '../../../test/make/table.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { makeFormerNat } from './former-nat.ts';

const onNat = natListener('192.0.2.51', 80, 30_000, { protocol: 'TCP' });
const onHaproxy = listener('192.0.2.51', 80, 30_000);
const onDirect = listener('192.0.2.51', 80, 30_000, { dataplane: 'direct' });

/** After tables with one listener each, or none. */
function after(...tables: readonly (Listener | undefined)[]): readonly string[] {
  const former = makeFormerNat();
  const all = tables.map((each) => tableOf(each === undefined ? [] : [each]).listeners);
  for (const [index, next] of all.entries()) former.follow(all[index - 1] ?? tableOf([]).listeners, next);
  return [...former.keys()];
}

test('a TCP listener that leaves nat is a former one for as long as its Service has it elsewhere', () => {
  expect(after(onNat)).toEqual([]);
  expect(after(onNat, onHaproxy)).toEqual([onNat.key]);
  expect(after(onNat, onHaproxy, onDirect)).toEqual([onNat.key]);
  expect(after(onNat, onHaproxy, onNat)).toEqual([]);
  expect(after(onNat, onHaproxy, undefined)).toEqual([]);
  expect(after(onNat, { ...onHaproxy, uid: 'another' as never })).toEqual([]);
  expect(after(onNat, onHaproxy, { ...onHaproxy, uid: 'another' as never })).toEqual([]);
  expect(after(onHaproxy, onDirect)).toEqual([]);
});

test('one of UDP is not: its packets say nothing about their flow', () => {
  expect(after(natListener('192.0.2.51', 53, 30_000), listener('192.0.2.51', 53, 30_000, { protocol: 'UDP' }))).toEqual(
    [],
  );
});

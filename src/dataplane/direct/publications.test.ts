import { expect, test } from 'vitest';
import { directListener, tableOf } from '../../../test/make/table.ts';
import { serviceKey } from '../../core/model/names.ts';
import { makePublications } from './publications.ts';

const a = directListener('192.0.2.1', 53, { isPublished: true });
const b = directListener('192.0.2.2', 53, { isPublished: true });
const hidden = directListener('192.0.2.1', 53, { isPublished: false });

function makeScene(): { readonly since: (...listeners: readonly (typeof a)[]) => readonly unknown[]; nowMs: number } {
  const scene = { nowMs: 1_000, since: (): readonly unknown[] => [] };
  const publicationsOf = makePublications(() => scene.nowMs);
  return Object.assign(scene, {
    since: (...listeners: readonly (typeof a)[]) =>
      Array.from(publicationsOf(tableOf(listeners).listeners).values(), ({ publishedMs }) => publishedMs),
  });
}

test('listeners of the first table were published before this process started; later ones are from now on', () => {
  const scene = makeScene();
  expect(scene.since(a)).toEqual([-Infinity]);
  scene.nowMs = 2_000;
  expect(new Set(scene.since(a, b))).toEqual(new Set([-Infinity, 2_000]));
  scene.nowMs = 3_000;
  expect(new Set(scene.since(a, b))).toEqual(new Set([-Infinity, 2_000]));
});

test('a listener counts from its last publication, and again for another Service', () => {
  const scene = makeScene();
  expect(scene.since(hidden)).toEqual([undefined]);
  expect(scene.since(a)).toEqual([1_000]);
  scene.nowMs = 2_000;
  expect(scene.since(hidden)).toEqual([undefined]);
  expect(scene.since(a)).toEqual([2_000]);
  scene.nowMs = 3_000;
  const other = directListener('192.0.2.1', 53, { isPublished: true, service: serviceKey('test', 'other') });
  expect(scene.since(other)).toEqual([3_000]);
});

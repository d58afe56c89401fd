import { expect, test } from 'vitest';
import { directListener, tableOf } from '../../../test/make/table.ts';
import { serviceKey } from '../../core/model/names.ts';
import { makePublications } from './publications.ts';

const a = directListener('192.0.2.1', 53, { isPublished: true });
const b = directListener('192.0.2.2', 53, { isPublished: true });
const hidden = directListener('192.0.2.1', 53, { isPublished: false });

/** Of each listener: since when it is published; `found` as well if it may have been for long. */
function makeScene(): { readonly since: (...listeners: readonly (typeof a)[]) => readonly unknown[]; nowMs: number } {
  const scene = { nowMs: 1_000, since: (): readonly unknown[] => [] };
  const publicationsOf = makePublications(() => scene.nowMs);
  return Object.assign(scene, {
    since: (...listeners: readonly (typeof a)[]) =>
      Array.from(publicationsOf(tableOf(listeners).listeners).values(), ({ publishedMs, isFoundPublished }) =>
        isFoundPublished ? `found ${publishedMs}` : publishedMs,
      ),
  });
}

test('a listener that is published when it comes may have been for long', () => {
  const scene = makeScene();
  expect(scene.since(a)).toEqual(['found 1000']);
  scene.nowMs = 2_000;
  expect(new Set(scene.since(a, b))).toEqual(new Set(['found 1000', 'found 2000']));
  scene.nowMs = 3_000;
  expect(new Set(scene.since(a, b))).toEqual(new Set(['found 1000', 'found 2000']));
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
  expect(scene.since(other)).toEqual(['found 3000']);
  scene.nowMs = 4_000;
  expect(scene.since()).toEqual([]);
  expect(scene.since(other)).toEqual(['found 4000']);
});

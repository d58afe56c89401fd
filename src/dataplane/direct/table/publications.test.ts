import { expect, test } from 'vitest';
import { directListener, localTable, node, tableOf } from '../../../../test/make/table.ts';
import { serviceKey } from '../../../core/model/names.ts';
import { localBackend } from '../../../core/traffic/table.ts';
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
      Array.from(publicationsOf(tableOf(listeners)).values(), ({ publishedMs, isFoundPublished }) =>
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

test('a Service that is changed to Cluster is widened since then, from the nodes with endpoints; and no longer when it is Local again', () => {
  const scene = { nowMs: 1_000 };
  const publicationsOf = makePublications(() => scene.nowMs);
  const local = directListener('192.0.2.1', 53, { isPublished: true, backend: localBackend(4, a.service) });
  const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
  const localOn = (name: string) => localTable([[local, { [name]: 1 }]], nodes);
  const cluster = tableOf([a], nodes);
  const widened = (table: typeof cluster): unknown => publicationsOf(table).get(a.key)?.widened;
  expect(widened(localOn('n1'))).toBeUndefined();
  scene.nowMs = 2_000;
  expect(widened(cluster)).toEqual({ atMs: 2_000, before: new Set(['n1']) });
  scene.nowMs = 3_000;
  const otherwise = tableOf([directListener('192.0.2.1', 53, { isPublished: true, isAffine: true })], nodes);
  expect(widened(otherwise)).toEqual({ atMs: 2_000, before: new Set(['n1']) });
  expect(publicationsOf(cluster).get(a.key)?.publishedMs).toBe(1_000);
  expect(widened(localOn('n2'))).toBeUndefined();
  expect(widened(cluster)).toEqual({ atMs: 3_000, before: new Set(['n2']) });
});

test('a Service that is changed to Cluster before it is published, or while its nodes are not known, is not widened', () => {
  const publicationsOf = makePublications(() => 1_000);
  const local = { backend: localBackend(4, a.service) };
  for (const isPublished of [false, true]) {
    publicationsOf(tableOf([directListener('192.0.2.1', 53, { isPublished, ...local })]));
    expect(publicationsOf(tableOf([a])).get(a.key)?.widened).toBeUndefined();
  }
});

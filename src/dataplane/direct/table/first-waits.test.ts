import { expect, test } from 'vitest';
import { directListener, listener, localListener, localTable, node, tableOf } from '../../../../test/make/table.ts';
import type { ListenerKey } from '../../../core/model/names.ts';
import { emptyTable, type Listener, type TrafficTable } from '../../../core/traffic/table.ts';
import { makeFirstWaits } from './first-waits.ts';

const vip = '203.0.113.1';
const more = { protocol: 'TCP', dataplane: 'direct', standIn: 'haproxy' } as const;
const web = listener(vip, 80, 30_080, more);
const nodes = [node('n1', '192.0.2.11')];

type WaitScene = {
  nowMs: number;
  open: ReadonlySet<string>;
  mayOpen: boolean;
  serverless: ReadonlySet<ListenerKey>;
  publish(table: TrafficTable): void;
  /** The ports that wait. */
  waiting(): readonly number[];
  untilMs(): number;
};

function makeScene(): WaitScene {
  const waits = makeFirstWaits();
  let table = emptyTable;
  const scene: WaitScene = {
    nowMs: 1_000,
    open: new Set(),
    mayOpen: true,
    serverless: new Set(),
    publish: (next) => {
      waits.follow(table.listeners, next.listeners, new Set());
      table = next;
    },
    waiting: () => Array.from(answer().listeners, (key) => table.listeners.get(key)?.port ?? 0),
    untilMs: () => answer().untilMs,
  };
  const answer = (): ReturnType<typeof waits.waiting> =>
    waits.waiting({ ...scene, table, mayOpen: () => scene.mayOpen });
  return scene;
}

test('a new listener with a stand-in waits for five seconds, once', () => {
  const scene = makeScene();
  scene.publish(tableOf([web, directListener(vip, 53)], nodes));
  expect([scene.waiting(), scene.untilMs()]).toEqual([[80], 6_000]);
  scene.publish(tableOf([{ ...web, isPublished: true }], nodes));
  scene.nowMs = 5_999;
  expect(scene.waiting()).toEqual([80]);
  scene.nowMs = 6_000;
  expect([scene.waiting(), scene.untilMs()]).toEqual([[], Infinity]);
  scene.publish(tableOf([web], nodes));
  expect(scene.waiting()).toEqual([]);
});

test('it no longer waits once a node has taken it', () => {
  const scene = makeScene();
  scene.publish(tableOf([web], nodes));
  scene.waiting();
  scene.open = new Set([web.key]);
  expect(scene.waiting()).toEqual([]);
  scene.open = new Set();
  expect(scene.waiting()).toEqual([]);
});

test('a listener that the stand-in may serve already does not wait, and the next Service on it does, also under the same name', () => {
  const scene = makeScene();
  scene.publish(tableOf([listener(vip, 80, 30_080)], nodes));
  scene.publish(tableOf([web], nodes));
  expect(scene.waiting()).toEqual([]);
  scene.publish(tableOf([{ ...web, uid: 'other' as Listener['uid'] }], nodes));
  expect(scene.waiting()).toEqual([80]);
});

test('without an endpoint the wait has not begun, though nodes may serve the listener', () => {
  const scene = makeScene();
  scene.publish(tableOf([web], nodes));
  [scene.serverless, scene.open] = [new Set([web.key]), new Set([web.key])];
  expect([scene.waiting(), scene.untilMs()]).toEqual([[], Infinity]);
  [scene.serverless, scene.open, scene.nowMs] = [new Set(), new Set(), 60_000];
  expect([scene.waiting(), scene.untilMs()]).toEqual([[80], 65_000]);
});

test('without servers the wait has not begun; with nodes that cannot be next hops there is none', () => {
  const local = localListener(vip, 80, 30_080);
  const own = { ...local, ...more };
  const scene = makeScene();
  scene.publish(localTable([[own, {}]], nodes));
  expect([scene.waiting(), scene.untilMs()]).toEqual([[], Infinity]);
  scene.nowMs = 60_000;
  scene.publish(localTable([[own, { n1: 1 }]], nodes));
  expect([scene.waiting(), scene.untilMs()]).toEqual([[80], 65_000]);

  const barred = makeScene();
  barred.mayOpen = false;
  barred.publish(tableOf([web], nodes));
  expect(barred.waiting()).toEqual([]);
  barred.mayOpen = true;
  expect(barred.waiting()).toEqual([]);
});

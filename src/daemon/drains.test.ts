import { expect, test } from 'vitest';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import type { NodeName } from '../core/model/names.ts';
import { type Drains, loadDrains } from './drains.ts';

const n1 = 'n1' as NodeName;

test('a drain outlives the process', async () => {
  const texts = new Map<string, string>();
  const load = (): Promise<Drains<NodeName>> =>
    loadDrains<NodeName>({ kind: 'node', path: '/drains', files: filesOf(texts), log: recordLog() });
  const first = await load();
  await first.set(n1, true);
  await first.set('n2' as NodeName, true);
  await first.set('n2' as NodeName, false);
  expect([...(await load()).current()]).toEqual(['n1']);
});

test('a drain that cannot be recorded does not take effect, not even with the next one', async () => {
  const texts = new Map<string, string>();
  const files = filesOf(texts);
  let isFull = true;
  const write: typeof files.write = (at, text) =>
    isFull ? Promise.reject(new Error('ENOSPC')) : files.write(at, text);
  const drains = await loadDrains<NodeName>({
    kind: 'node',
    path: '/drains',
    files: { ...files, write },
    log: recordLog(),
  });
  let changes = 0;
  drains.subscribe(() => changes++);
  await expect(drains.set(n1, true)).rejects.toThrow('ENOSPC');
  expect([drains.current().size, changes]).toEqual([0, 0]);
  isFull = false;
  await drains.set('n2' as NodeName, true);
  const again = await loadDrains<NodeName>({ kind: 'node', path: '/drains', files, log: recordLog() });
  expect([[...drains.current()], [...again.current()]]).toEqual([['n2'], ['n2']]);
});

test('drains that are changed at the same time are all recorded, and each change is announced once', async () => {
  const texts = new Map<string, string>();
  const drains = await loadDrains<NodeName>({ kind: 'node', path: '/drains', files: filesOf(texts), log: recordLog() });
  let changes = 0;
  drains.subscribe(() => changes++);
  await Promise.all(['n1', 'n2', 'n1', 'n3'].map((name) => drains.set(name as NodeName, true)));
  const again = await loadDrains<NodeName>({ kind: 'node', path: '/drains', files: filesOf(texts), log: recordLog() });
  expect([[...again.current()].sort(), changes]).toEqual([['n1', 'n2', 'n3'], 3]);
});

import { expect, test } from 'vitest';
import { projectNode } from './node.ts';

test.each([
  ['True', true],
  ['False', false],
  ['Unknown', false],
])('a node whose condition Ready is %s', (status, isReady) => {
  const conditions = [
    { type: 'DiskPressure', status: 'True' },
    { type: 'Ready', status },
  ];
  expect(projectNode({ status: { conditions } }).isReady).toBe(isReady);
});

test('a node without conditions is not ready, one without a time of creation is the oldest', () => {
  expect(projectNode({})).toMatchObject({ isReady: false, createdAtMs: 0 });
  const metadata = { name: 'n1', creationTimestamp: '2026-01-01T00:00:01Z' };
  expect(projectNode({ metadata })).toMatchObject({ name: 'n1', createdAtMs: Date.UTC(2026, 0, 1, 0, 0, 1) });
});

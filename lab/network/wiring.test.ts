import { expect, test } from 'vitest';
import { labOf, namespaceOf } from './wiring.ts';

test.each([
  ['fw-lab-n1', 'lab'],
  ['fw-lab-switch', 'lab'],
  ['fw-lab2-n1', 'lab2'],
  ['fwt-lab-n1', undefined],
  ['fw-lab', undefined],
  ['cni-0d3b', undefined],
])('the namespace %s is of lab %s', (namespace, lab) => {
  expect(labOf(namespace)).toBe(lab);
});

test('a lab finds its own namespaces by name', () => {
  expect(labOf(namespaceOf('e2e', 'lb1'))).toBe('e2e');
});

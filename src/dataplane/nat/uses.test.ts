import { expect, test } from 'vitest';
import { localListener, natListener, tableOf } from '../../../test/make/table.ts';
import type { BackendId } from '../../core/model/names.ts';
import { makeUses } from './uses.ts';

const dns = natListener('203.0.113.1', 53, 30_053);
const six = natListener('2001:db8:f::1', 53, 30_053, { isAffine: true });
const local = localListener('203.0.113.1', 80, 30_080);

test('a listener for the host itself has no node, and needs no forwarding', () => {
  const backend = 'own4:test/service:53/UDP' as BackendId;
  const own = natListener('203.0.113.1', 53, 5353, { backend, isAffine: true });
  const usesOf = makeUses();
  const shown = (...listeners: Parameters<typeof tableOf>[0]): unknown => {
    const { backends, families, affine } = usesOf(tableOf(listeners, []).listeners);
    return [backends.size, families.size, affine.size];
  };
  expect(shown(own)).toEqual([0, 0, 0]);
  expect(shown(dns)).toEqual([1, 1, 0]);
  expect(shown(own, six)).toEqual([1, 1, 1]);
  expect(shown()).toEqual([0, 0, 0]);
});

test('follows the backends, families and affinity of new, changed and removed listeners', () => {
  const usesOf = makeUses();
  const shown = (...listeners: Parameters<typeof tableOf>[0]): unknown => {
    const { backends, families, affine } = usesOf(tableOf(listeners, []).listeners);
    return [[...backends.keys()].toSorted(), [...families].toSorted((a, b) => a - b), [...affine]];
  };
  expect(shown()).toEqual([[], [], []]);
  expect(shown(dns, six, local)).toEqual([['local4:test/service', 'nodes4', 'nodes6'], [4, 6], [six.key]]);
  expect(shown(dns, natListener('2001:db8:f::1', 53, 30_054))).toEqual([['nodes4', 'nodes6'], [4, 6], []]);
  expect(shown(natListener('203.0.113.1', 53, 30_099), local)).toEqual([['local4:test/service', 'nodes4'], [4], []]);
  expect(shown(dns, dns)).toEqual([['nodes4'], [4], []]);
  expect(shown()).toEqual([[], [], []]);
});

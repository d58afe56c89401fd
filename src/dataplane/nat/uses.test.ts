import { expect, test } from 'vitest';
import { localListener, natListener, tableOf } from '../../../test/make/table.ts';
import { makeUses } from './uses.ts';

const dns = natListener('203.0.113.1', 53, 30_053);
const six = natListener('2001:db8:f::1', 53, 30_053, { isAffine: true });
const local = localListener('203.0.113.1', 80, 30_080);

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

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { classPattern } from '../cli/values.ts';
import { leaseName } from './lease-name.ts';

test.each([
  ['furiwake.dev/haproxy', 'furiwake-furiwake.dev-haproxy'],
  ['internal', 'furiwake-internal'],
  ['a-b', 'furiwake-a-b'],
  ['a/b', expect.stringMatching(/^furiwake-a-b-[0-9a-f]{8}$/)],
  ['A-b', expect.stringMatching(/^furiwake-a-b-[0-9a-f]{8}$/)],
  ['furiwake.dev-haproxy', expect.stringMatching(/^furiwake-furiwake.dev-haproxy-[0-9a-f]{8}$/)],
])('the class %s has the Lease %s', (loadBalancerClass, name) => {
  expect(leaseName(loadBalancerClass)).toEqual(name);
});

const anyClass = fc.oneof(
  fc.stringMatching(classPattern),
  fc.stringMatching(/^[ab][-._]{0,3}[abAB]$/),
  fc.stringMatching(/^a{1,150}\.b{100}\/[ab]$/),
);

test('every class has a valid name for its Lease', () => {
  const part = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
  fc.assert(
    fc.property(anyClass, (each) => {
      const name = leaseName(each);
      expect(name).toMatch(new RegExp(`^${part}(\\.${part})*$`));
      expect(name.length).toBeLessThanOrEqual(253);
    }),
  );
});

test('two classes never share a Lease, not even if one equals the changed name of another', () => {
  fc.assert(
    fc.property(anyClass, anyClass, (one, other) => {
      const changed = leaseName(one).replace('furiwake-', '');
      const classes = new Set([one, other, changed]);
      expect(new Set([...classes].map(leaseName)).size).toBe(classes.size);
    }),
  );
});

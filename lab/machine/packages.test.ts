import { expect, test } from 'vitest';
import { missingPackages } from './packages.ts';

test('no package is missing if every program is found', () => {
  expect(missingPackages(() => '/usr/bin/it')).toEqual([]);
});

test('a package is missing if its program is', () => {
  const all = new Set(['nft', '/usr/lib/cni/bridge']);
  expect(missingPackages((program) => (all.has(program) ? undefined : program))).toEqual([
    'containernetworking-plugins',
    'nftables',
  ]);
});

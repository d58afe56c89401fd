import { expect, test } from 'vitest';
import { missingPackages } from './packages.ts';

test('nothing is missing where every program is found', () => {
  expect(missingPackages(() => '/usr/bin/it')).toEqual([]);
});

test('a package is known to be missing by its program', () => {
  const all = new Set(['nft', '/usr/lib/cni/bridge']);
  expect(missingPackages((program) => (all.has(program) ? undefined : program))).toEqual([
    'containernetworking-plugins',
    'nftables',
  ]);
});

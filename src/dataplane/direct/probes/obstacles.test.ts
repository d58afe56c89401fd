import { expect, test } from 'vitest';
import { node } from '../../../../test/make/table.ts';
import { findObstacles } from './obstacles.ts';

test('each node and family has the obstacle that an administrator must remove first', () => {
  const nodes = [
    node('near', '192.0.2.11', '2001:db8::11'),
    node('far', '198.51.100.11', '2001:db8::12'),
    node('mute', '192.0.2.13'),
    node('unheard', '192.0.2.15'),
    node('routed', '192.0.2.16'),
    node('small', '192.0.2.17'),
    node('own', '192.0.2.14'),
  ];
  const small = { least: 1_396, most: 1_403, lan: 1_500 };
  const found = findObstacles(new Map(nodes.map((each) => [each.name, each])), {
    isOwn: ({ text }) => text === '192.0.2.14',
    linkOf: ({ text }) => (text.startsWith('198.') ? undefined : 'eth0'),
    isAnswering: (name) => name !== 'mute' && name !== 'far',
    measured: (name) => (name === 'routed' ? 'crossing' : name === 'small' ? small : undefined),
    isUnheard: (name, family) => name === 'routed' || (name === 'unheard' && family === 4),
  });
  expect(Object.fromEntries(found)).toEqual({
    far: { 4: 'offLink', 6: 'noAnswer' },
    mute: { 4: 'noAnswer' },
    unheard: { 4: 'unheard' },
    routed: { 4: 'crossing' },
    small: { 4: small },
    own: { 4: 'thisHost' },
  });
});

import { expect, test } from 'vitest';
import { contains } from './traces.ts';

test.each([
  ['inet 203.0.113.5/32 scope global eth0', '203.0.113.5', true],
  ['elements = { 203.0.113.5 . tcp . 80 : 1 }', '203.0.113.5', true],
  ['inet6 2001:db8:0:3::5/128 scope global', '2001:db8:0:3::5', true],
  ['inet 203.0.113.50/32 scope global eth0', '203.0.113.5', false],
  ['inet 203.0.113.5/32 scope global eth0', '3.0.113.5', false],
  ['203.0.113.0/24 via 192.0.2.51', '203.0.113.0', false],
  ['203a0b113c5', '203.0.113.5', false],
  ['inet6 2001:db8:0:3::55/128 scope global', '2001:db8:0:3::5', false],
])('"%s" contains %s: %s', (text, ip, expected) => {
  expect(contains(text, ip)).toBe(expected);
});

import { expect, test } from 'vitest';
import { directListener, tableOf } from '../../../../test/make/table.ts';
import { guardChains } from './guard.ts';

const devices = ['eth0', 'eth1'];
const listenersAt = (...addresses: readonly string[]): ReturnType<typeof tableOf>['listeners'] =>
  tableOf(
    addresses.map((address) => directListener(address, 80)),
    [],
  ).listeners;

test('the guard drops packets to the addresses of the listeners, as ranges, at all LAN devices', () => {
  const text = guardChains({
    listeners: listenersAt('203.0.113.2', '203.0.113.1', '203.0.113.9', '2001:db8::1'),
    devices,
  });
  expect(text).toContain('elements = { 203.0.113.1-203.0.113.2, 203.0.113.9 }');
  expect(text).toContain('elements = { 2001:db8::1 }');
  expect(text).toContain('devices = { "eth0", "eth1" }');
});

test("the host's own addresses are not guarded: other programs use them", () => {
  const own = { ...directListener('192.0.2.2', 80), isHostAddress: true };
  const listeners = tableOf([own, directListener('203.0.113.1', 80)], []).listeners;
  expect(guardChains({ listeners, devices })).not.toContain('192.0.2.2');
  expect(guardChains({ listeners: tableOf([own], []).listeners, devices })).toBeUndefined();
});

test('there is no guard for more ranges than are written at once, nor without a device', () => {
  const apart = Array.from({ length: 257 }, (_, index) => `10.${Math.floor(index / 100)}.${2 * (index % 100)}.1`);
  expect(guardChains({ listeners: listenersAt(...apart.slice(1)), devices })).toBeDefined();
  expect(guardChains({ listeners: listenersAt(...apart), devices })).toBeUndefined();
  expect(guardChains({ listeners: listenersAt('203.0.113.1'), devices: [] })).toBeUndefined();
});

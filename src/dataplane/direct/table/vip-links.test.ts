import { expect, test } from 'vitest';
import { directListener, tableOf } from '../../../../test/make/table.ts';
import { makeVipLinks } from './vip-links.ts';

const lan = directListener('192.0.2.50', 80);
const routed = directListener('203.0.113.1', 80);

test('looks up the addresses of changed listeners only, and all again for a refresh', () => {
  const asked: string[] = [];
  let name = 'eth0';
  const linksOf = makeVipLinks(({ text }) => {
    asked.push(text);
    return text.startsWith('192.0.2.') ? name : undefined;
  });
  const of = (listeners: Parameters<typeof tableOf>[0], isRefresh = false): readonly string[] => [
    ...linksOf(tableOf(listeners, []).listeners, isRefresh),
  ];
  expect(of([lan])).toEqual(['eth0']);
  expect(of([lan, routed])).toEqual(['eth0']);
  expect(asked).toEqual(['192.0.2.50', '203.0.113.1']);
  expect(of([routed])).toEqual(['eth0']);
  name = 'eth1';
  expect(of([lan, routed], true)).toEqual(['eth1']);
  expect(of([routed], true)).toEqual([]);
});

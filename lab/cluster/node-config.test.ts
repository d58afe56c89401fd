import { expect, test } from 'vitest';
import { cniConfig, masqueradeRules } from './node-config.ts';

test('connections from Pods to other networks are masqueraded, in any order of the Node’s ranges', () => {
  const rules = masqueradeRules(['fd00:10:244:1::/64', '10.244.1.0/24']);
  expect(rules).toContain('ip saddr 10.244.1.0/24 ip daddr != 10.244.0.0/16 masquerade');
  expect(rules).toContain('ip6 saddr fd00:10:244:1::/64 ip6 daddr != fd00:10:244::/56 masquerade');
});

test('a Pod gets an address of each of its node’s ranges', () => {
  expect(JSON.parse(cniConfig(['10.244.1.0/24', 'fd00:10:244:1::/64']))).toMatchObject({
    plugins: [{ ipam: { ranges: [[{ subnet: '10.244.1.0/24' }], [{ subnet: 'fd00:10:244:1::/64' }]] } }, {}],
  });
});

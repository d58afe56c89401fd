import { expect, test } from 'vitest';
import { listener, publish, startAgent } from '../../test/make/agent-rig.ts';
import { directListener } from '../../test/make/table.ts';

test('the outage of a table is reported of the listeners that it carries', async () => {
  const rig = startAgent();
  const { ports } = rig;
  const web = listener('192.0.2.51', 80, 'web');
  const dns = listener('192.0.2.52', 53, 'dns', { protocol: 'UDP', dataplane: 'nat' });
  const standIn = directListener('192.0.2.53', 80, { protocol: 'TCP', isPublished: true, standIn: 'haproxy' });
  const alone = directListener('192.0.2.54', 80, { protocol: 'TCP', isPublished: true });
  ports.setOnLink(new Set([4]));
  await publish(rig, web, dns, standIn, alone);
  const reported = (): readonly unknown[] =>
    [web, dns, standIn, alone].map(({ key }) => rig.agent.report().listeners.get(key)?.tableTrouble);
  ports.outages.nat.set('nft: no\nmemory');
  expect(reported()).toEqual([undefined, 'nft: no; memory', undefined, undefined]);
  ports.outages.nat.set(undefined);
  ports.outages.direct.set('no');
  expect(reported()).toEqual([undefined, undefined, undefined, 'no']);
  ports.outages.steering.set('too');
  expect(reported()).toEqual(['too', undefined, 'too', 'no']);
  ports.outages.direct.set(undefined);
  expect(reported()).toEqual(['too', undefined, undefined, undefined]);
  ports.closeDirect(true);
  expect(reported()).toEqual(['too', undefined, 'too', undefined]);
});

test.each(['steering', 'direct', 'nat'] as const)(
  'a host whose table of %s cannot be restored says so',
  async (part) => {
    const rig = startAgent();
    await publish(rig, listener('192.0.2.51', 80, 'web'));
    const told: (readonly string[])[] = [];
    const end = rig.agent.onTroubles(() => told.push(rig.agent.troubles()));
    const outage = rig.ports.outages[part];
    outage.set('nft: no\nmemory');
    outage.set(undefined);
    const words = 'another program has changed an nftables table, and it cannot be restored: nft: no; memory';
    expect(told).toEqual([[words], []]);
    end();
    outage.set('nft: no');
    expect(told).toHaveLength(2);
  },
);

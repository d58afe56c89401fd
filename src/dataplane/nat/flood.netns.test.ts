import { afterAll, beforeAll, expect, test } from 'vitest';
import { natListener } from '../../../test/make/table.ts';
import { duringFlood, floodSources } from '../../../test/netns/flood.ts';
import { dns, type NatRig, otherNodePort, startNatRig } from '../../../test/netns/nat-rig.ts';
import { serviceKey } from '../../core/model/names.ts';

/*
 * Packets from very many addresses for one Service: another one is served, changes are in force, and conntrack is not full.
 */
const service = serviceKey('test', 'other');
const other = natListener('10.50.0.9', 53, otherNodePort, { service });
const changed = natListener('10.50.0.8', 53, otherNodePort, { service });
let rig: NatRig;

beforeAll(async () => {
  rig = await startNatRig();
  await rig.lab.balancer.exec('ip', 'route', 'add', floodSources, 'via', '10.10.0.2'); // the answers
});
afterAll(() => rig?.[Symbol.asyncDispose]());

test.each(['udp', 'tcp'] as const)(
  'a flood of flows of one packet, %s: no flow of another Service is lost, and a change of it is in force at once',
  async (protocol) => {
    const attacked = dns('10.50.0.1', { protocol: protocol === 'tcp' ? 'TCP' : 'UDP' });
    await rig.apply(attacked, other);
    const served = new Set<string>();
    let turn = 0;
    const packets = { protocol, to: '10.50.0.1', port: 53, count: 100_000 };
    const sent = await duringFlood(rig.lab.client, packets, async () => {
      const also = turn++ % 2 === 0 ? [changed] : [];
      expect(await rig.apply(attacked, other, ...also)).toEqual(new Map());
      for (const { address } of [other, ...also])
        for (const node of (await rig.newFlows(address.text, 10)).values()) served.add(node);
    });
    expect([...served].toSorted()).toEqual(['n1', 'n2', 'n3']);
    expect(sent).toBeGreaterThan(2_000);
    const read = (name: string): Promise<string> => rig.lab.balancer.exec('sysctl', '-n', `net.netfilter.${name}`);
    const [flows, most] = [Number(await read('nf_conntrack_count')), Number(await read('nf_conntrack_max'))];
    expect(flows).toBeLessThan(most);
  },
);

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Host } from '../../lab/network/host.ts';
import { webPort } from './harness/backends.ts';
import { askByUdp } from './harness/datagrams.ts';
import { eventually } from './harness/eventually.ts';
import { fetchFrom, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { isRoot, type Stage, useStage } from './harness/stage.ts';
import { startTraffic } from './harness/traffic.ts';

/*
 * The topology of many home sites: the load-balancer host is the gateway of the nodes. It forwards, masquerades, drops packets of
 * connections that it has not seen, and checks reverse paths. With `direct` the answers of the nodes would end here.
 */
const http = { name: 'http', port: 80, protocol: 'TCP', targetPort: webPort };
const dns = { name: 'dns', port: 53, protocol: 'UDP', targetPort: 8081 };
const local = { externalTrafficPolicy: 'Local' };

const firewall = `table inet site {
  chain forward {
    type filter hook forward priority filter
    ct state invalid drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat
    ip saddr 192.0.2.0/24 ip daddr != 192.0.2.0/24 masquerade
  }
}`;
const settings = ['net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=1', 'net.ipv4.conf.eth0.rp_filter=1'];
const formerSettings = ['net.ipv4.ip_forward=0', 'net.ipv4.conf.all.rp_filter=2', 'net.ipv4.conf.eth0.rp_filter=2'];

const nodesOf = ({ lab }: Stage): readonly Host[] => ['n1', 'n2'].map((name) => lab.host(name));

async function setGateway(stage: Stage, gateway: Host): Promise<void> {
  for (const node of nodesOf(stage)) await node.exec(['ip', 'route', 'replace', 'default', 'via', gateway.ip4]);
}

describe.skipIf(!isRoot)('the load-balancer host is the gateway of the nodes', () => {
  const stage = useStage({ flags: ['--addresses', '192.0.2.200-192.0.2.210,203.0.113.0/28'] });

  beforeAll(async () => {
    const { lb1 } = stage();
    await lb1.exec(['sysctl', '-qw', ...settings]);
    await lb1.exec(['nft', '-f', '-'], { stdin: firewall });
    await setGateway(stage(), lb1);
  });
  afterAll(async () => {
    const { lab, lb1 } = stage();
    await setGateway(stage(), lab.host('router'));
    await lb1.exec(['nft', 'delete', 'table', 'inet', 'site']);
    await lb1.exec(['sysctl', '-qw', ...formerSettings]);
  });

  test('Local Services go through HAProxy and nat, which the condition says, and no connection fails', async () => {
    const { services, client } = stage();
    const serve = async (site: string, loadBalancerIP: string): Promise<void> => {
      const [tcp, udp] = [`tcp-${site}`, `udp-${site}`];
      await services.create(tcp, { spec: { ...local, ports: [http], loadBalancerIP } });
      const [ip = ''] = await services.published(tcp);
      await untilAnswer(client, urlOf(ip), fromWeb);
      await using traffic = await startTraffic(client, urlOf(ip), { perSecond: 50, held: 2 });
      const { message } = await services.condition(tcp, 'Serving', 'FieldsNotHonoured');
      expect(message).toMatch(
        /^serving, but HAProxy stands in for direct, .*: n1, n2 use the load-balancer host as the gateway/,
      );
      await services.create(udp, { spec: { ...local, ports: [dns], loadBalancerIP } });
      await services.published(udp);
      await eventually(async () => {
        const answers = await askByUdp(client, { address: ip, port: 53, text: 'hostname' });
        expect(answers).toEqual([expect.stringMatching(fromWeb)]);
      });
      expect(await traffic.after(100)).toMatchObject({ failed: 0 });
    };
    await Promise.all([serve('lan', '192.0.2.205'), serve('routed', '203.0.113.5')]);
  });

  test('with the annotation direct serves the clients on the LAN, whose addresses the Pods see', async () => {
    const { services, lanclient } = stage();
    const annotations = { 'furiwake.dev/dataplane': 'direct' };
    await services.create('asked', { annotations, spec: { ...local, ports: [http], loadBalancerIP: '192.0.2.206' } });
    const [ip = ''] = await services.published('asked');
    await eventually(async () => {
      expect(await fetchFrom(lanclient, urlOf(ip, 80, '/clientip'))).toContain(lanclient.ip4);
    }, 120_000); // a node whose first probe was lost is probed again later
  });
});

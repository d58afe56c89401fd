import { describe, expect, test } from 'vitest';
import type { Host } from '../../lab/network/host.ts';
import { addressesAnnotation } from './harness/contract.ts';
import { nobody, webOnN1 } from './harness/backends.ts';
import { eventually } from './harness/eventually.ts';
import { fetchFrom, fetchMany, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { namespace } from './harness/names.ts';
import { isRoot, useStage } from './harness/stage.ts';

const addresses = '192.0.2.200-192.0.2.220,203.0.113.0/28,2001:db8:0:1::200-2001:db8:0:1::220,2001:db8:0:3::/124';

/** On the nodes' LAN: found by ARP and neighbour discovery. */
const onLink = ['192.0.2.200', '2001:db8:0:1::200'] as const;
/** In another network: the router has a route to lb1. */
const routed = ['203.0.113.5', '2001:db8:0:3::5'] as const;

async function answersPing(host: Host, ip: string): Promise<boolean> {
  return host.exec(['ping', '-n', '-c', '1', '-W', '1', ip]).then(
    () => true,
    () => false,
  );
}

describe.skipIf(!isRoot)('addresses that furiwake adds to the host', () => {
  const stage = useStage({ flags: ['--addresses', addresses] });

  test.each([
    ['on the LAN', onLink],
    ['routed to the host', routed],
  ])('one of each family, %s, is reached from behind the router, from the LAN and from a node', async (_, ips) => {
    const { services, client, lanclient, lab } = stage();
    await services.create('dual', {
      annotations: { [addressesAnnotation]: ips.join(',') },
      spec: { ipFamilyPolicy: 'RequireDualStack' },
    });
    expect(await services.published('dual', 2)).toEqual(ips);
    for (const ip of ips) {
      for (const host of [client, lanclient, lab.host('n2')]) {
        await untilAnswer(host, urlOf(ip), fromWeb);
        await eventually(async () => expect(await answersPing(host, ip)).toBe(true));
      }
    }
    await services.remove('dual');
    for (const ip of ips) expect(await answersPing(client, ip)).toBe(false);
  });

  test('a Service of IPv6 alone gets one IPv6 address', async () => {
    const { services, client } = stage();
    await services.create('six', { spec: { ipFamilies: ['IPv6'], ipFamilyPolicy: 'SingleStack' } });
    const [ip = ''] = await services.published('six');
    expect(ip).toBe(onLink[1]);
    await untilAnswer(client, urlOf(ip), fromWeb);
  });

  test('connections from the load-balancer host itself are served', async () => {
    const { services, lb1 } = stage();
    await services.create('local', { spec: { ipFamilyPolicy: 'RequireDualStack' } });
    const ips = await services.published('local', 2);
    for (const ip of ips) await untilAnswer(lb1, urlOf(ip), fromWeb);
    for (const ip of ips) expect(await fetchMany(lb1, urlOf(ip), 10)).not.toContain('');
  });

  test('a Pod also reaches a Service on its address', async () => {
    const { services, lab } = stage();
    await services.create('hairpin', { spec: { selector: webOnN1 } });
    const [ip = ''] = await services.published('hairpin');
    const curl = ['curl', '--silent', '--max-time', '3', urlOf(ip)];
    await eventually(async () =>
      expect(await lab.kubectl('exec', '--namespace', namespace, 'web-n2', '--', ...curl)).toBe('web-n1'),
    );
  });

  test('only ports of Services and ping answer on them, although programs listen on all addresses of the host', async () => {
    const { services, client, lanclient, lb1 } = stage();
    const listener = await lb1.spawn('everywhere', ['nc', '-lk', '::', '7777']);
    await eventually(() => lb1.exec(['nc', '-z', lb1.ip4, '7777']));
    await services.create('only', { spec: { ipFamilyPolicy: 'RequireDualStack' } });
    const ips = await services.published('only', 2);
    await client.exec(['nc', '-z', '-w', '2', lb1.ip4, '7777']);
    for (const ip of ips) {
      await untilAnswer(client, urlOf(ip), fromWeb);
      // 9470 is furiwake's own, 10256 kube-proxy's.
      for (const port of [7777, 22, 9470, 10_256]) {
        for (const host of [client, lanclient, lb1]) expect(await fetchFrom(host, urlOf(ip, port))).toBe('refused');
      }
      await eventually(async () => expect(await answersPing(client, ip)).toBe(true));
    }
    expect(await fetchFrom(client, urlOf(lb1.ip4, 80))).toBe('refused');
    listener.kill('SIGKILL');
    await listener.ended();
  });

  test('a Service on another address can have a port of the host itself', async () => {
    const { services, client, lb1 } = stage();
    const listener = await lb1.spawn('ssh', ['nc', '-lk', '0.0.0.0', '22']);
    await services.create('ssh', { spec: { ports: [{ port: 22, targetPort: 8080 }] } });
    const [ip = ''] = await services.published('ssh');
    await untilAnswer(client, urlOf(ip, 22), fromWeb);
    await expect(client.exec(['nc', '-z', '-w', '2', lb1.ip4, '22'])).resolves.toBeDefined();
    listener.kill('SIGKILL');
    await listener.ended();
  });

  test('they are added with the first Service and removed with the last', async () => {
    const { services, lb1 } = stage();
    const annotations = { [addressesAnnotation]: routed[0] };
    const isThere = async (): Promise<boolean> =>
      (await lb1.exec(['ip', '-oneline', 'address'])).stdout.includes(`${routed[0]}/32`);
    await services.create('one', { annotations, spec: { selector: nobody } });
    await services.create('two', { annotations, spec: { selector: nobody, ports: [{ port: 81 }] } });
    await Promise.all(['one', 'two'].map((name) => services.published(name)));
    await services.remove('one');
    expect(await isThere()).toBe(true);
    await services.remove('two');
    expect(await isThere()).toBe(false);
  });
});

import { describe, expect, test } from 'vitest';
import { type CheckScene, findIn, kubeProxyAnswer, servedService } from '../../../test/make/check-scene.ts';
import { ExecError } from '../../ports/exec.ts';

/** A Service that asks for `direct`. */
function dns(): object {
  const service = servedService('dns', '203.0.113.1') as { readonly metadata: object };
  return { ...service, metadata: { ...service.metadata, annotations: { 'furiwake.dev/dataplane': 'direct' } } };
}

function nodeOf(name: string, ...addresses: readonly string[]): object {
  return {
    metadata: { name },
    status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) },
  };
}

const direct = async (scene: CheckScene): Promise<readonly unknown[]> =>
  (await findIn(scene))
    .filter(({ what }) => what === 'direct')
    .map(({ mark, found, advice }) => ({ mark, found, advice }));

test('with no Service that asks for direct, one line says how it is', async () => {
  expect(await direct({})).toEqual([
    { mark: 'ok', found: 'no Service asks for it; 2 of 2 node addresses can get packets (on eth0)' },
  ]);
  expect(await direct({ kubeProxy: () => undefined })).toEqual([
    {
      mark: 'ok',
      found:
        'no Service asks for it; 0 of 2 node addresses can get packets; kube-proxy on n1, n2 does not answer on port 10256',
    },
  ]);
});

const forwards = { '/proc/sys/net/ipv4/ip_forward': '1\n' };
const mtus = { '/sys/class/net/eth0/mtu': '1500\n', '/sys/class/net/eth1/mtu': '1450\n' };
const twoLans = {
  'ip -json address': JSON.stringify(
    [
      ['eth0', '192.0.2.51'],
      ['eth1', '198.51.100.51'],
    ].map(([ifname, local], index) => ({
      ifname,
      ifindex: index + 2,
      link_type: 'ether',
      address: `02:00:00:00:00:0${index}`,
      flags: ['UP'],
      addr_info: [{ local, prefixlen: 24, scope: 'global' }],
    })),
  ),
};

test.each<[what: string, scene: CheckScene, usable: string, found: string]>([
  [
    'a node behind a router',
    { objects: { nodes: [nodeOf('n1', '192.0.2.11'), nodeOf('n2', '10.9.9.9')] } },
    '1 of 2',
    'no IPv4 address of n2 is in a LAN of this host',
  ],
  [
    'this host as a node',
    { objects: { nodes: [nodeOf('n1', '192.0.2.51'), nodeOf('n2', '192.0.2.12')] } },
    '1 of 2',
    'n1 is this host itself',
  ],
  [
    'a closed health port',
    { kubeProxy: (address) => (address === '192.0.2.12' ? undefined : kubeProxyAnswer({ 4: { id: '1', endMs: 0 } })) },
    '1 of 2',
    'kube-proxy on n2 does not answer on port 10256',
  ],
  [
    'a family that is not synced',
    { kubeProxy: () => kubeProxyAnswer({}) },
    '0 of 2',
    'kube-proxy on n1, n2 reports no sync of IPv4',
  ],
  [
    'an old kube-proxy',
    { kubeProxy: () => kubeProxyAnswer(undefined) },
    '2 of 2',
    'kube-proxy on n1, n2 reports no times of syncs (before Kubernetes 1.34)',
  ],
  [
    'a kernel without what the table needs',
    {
      programs: {
        'unshare --net nft': new ExecError('nft', 1, '/dev/stdin:57:3-20: Error: Could not process rule\nmore'),
      },
    },
    '2 of 2',
    'its table cannot be loaded: /dev/stdin:57:3-20: Error: Could not process rule',
  ],
  [
    'unequal MTUs',
    { programs: twoLans, files: mtus, objects: { nodes: [nodeOf('n1', '198.51.100.11')] } },
    '1 of 1',
    'unequal MTUs: eth0 1500, eth1 1450',
  ],
  [
    'a host that may be the gateway of the nodes',
    {
      programs: twoLans,
      files: forwards,
      objects: { nodes: [nodeOf('n1', '198.51.100.11'), nodeOf('n2', '192.0.2.12')] },
    },
    '2 of 2',
    'this host forwards IPv4 and may be the gateway of n1, on another LAN than that of its default route',
  ],
])('where a Service asks for direct, it warns of %s', async (_, scene, usable, found) => {
  const [summary, ...warnings] = await direct({ ...scene, objects: { ...scene.objects, services: [dns()] } });
  expect(summary).toMatchObject({
    mark: 'ok',
    found: expect.stringContaining(`1 Service asks for it; ${usable} node address`),
  });
  expect(summary).toMatchObject({
    found: expect.stringContaining('the firewall of this host does not see its packets'),
  });
  expect(warnings).toEqual([{ mark: 'warning', found, advice: expect.stringMatching(/\w/) }]);
});

test('a host that forwards on the LAN of its default route is not suspected to be their gateway', async () => {
  expect(await direct({ files: forwards, objects: { services: [dns()] } })).toHaveLength(1);
});

test('a kube-proxy that listens on one family of its node is asked there', async () => {
  const answer = kubeProxyAnswer({ 4: { id: '1', endMs: 0 }, 6: { id: '1', endMs: 0 } });
  const [found] = await direct({
    objects: { nodes: [nodeOf('n1', '192.0.2.11', '2001:db8::11')] },
    kubeProxy: (address) => (address === '2001:db8::11' ? answer : undefined),
  });
  expect(found).toMatchObject({ found: expect.stringContaining('1 of 2 node addresses can get packets') });
});

test('an excluded node is not counted', async () => {
  const excluded = { ...nodeOf('n2', '10.9.9.9'), spec: { taints: [{ key: 'ToBeDeletedByClusterAutoscaler' }] } };
  expect(await direct({ objects: { nodes: [nodeOf('n1', '192.0.2.11'), excluded] } })).toEqual([
    { mark: 'ok', found: 'no Service asks for it; 1 of 1 node address can get packets (on eth0)' },
  ]);
});

describe('the ports without a NodePort that this host itself', () => {
  const bare = (port: object): object => ({
    ...servedService('bare', '203.0.113.2'),
    spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [port] },
  });
  const slice = (...addresses: readonly string[]): object => ({
    metadata: { namespace: 'default', name: 'bare-1', labels: { 'kubernetes.io/service-name': 'bare' } },
    addressType: 'IPv4',
    ports: [{ name: '', protocol: 'UDP', port: 5353 }],
    endpoints: addresses.map((address) => ({ addresses: [address] })),
  });
  const udp = { port: 53, protocol: 'UDP' };
  const unreachable = /this host itself cannot connect to the ports without a NodePort of (\S+): it has no route/g;
  const routes = [
    { dst: 'default', gateway: '192.0.2.1', dev: 'eth0' },
    { dst: '10.244.0.0/24', gateway: '192.0.2.11', dev: 'eth0' },
  ];

  test.each<[what: string, named: readonly string[], port: object, pods: readonly string[]]>([
    ['cannot reach are named: no route to the Pods', ['default/bare'], udp, ['10.244.1.7', '10.244.2.7']],
    ['cannot reach are named: its gateway is their only Pod', ['default/bare'], udp, ['192.0.2.11']],
    ['reaches are not: a route to one of the Pods', [], udp, ['10.244.0.7', '10.244.1.7']],
    ['reaches are not: there is a NodePort', [], { ...udp, nodePort: 30_053 }, ['10.244.1.7']],
  ])('%s', async (_, named, port, pods) => {
    const programs = { 'ip -4 -json route show table main': JSON.stringify(routes) };
    const objects = { services: [dns(), bare(port)], endpointslices: [slice(...pods)] };
    const [finding] = await direct({ objects, programs });
    const words = JSON.stringify(finding);
    expect(Array.from(words.matchAll(unreachable), ([, name]) => name)).toEqual(named);
  });
});

import { expect, test } from 'vitest';
import { makeService, tcp, udp } from '../../../test/make/service.ts';
import { conditions, statusOf } from '../../../test/make/status.ts';
import { node } from '../../../test/make/table.ts';
import type { NodeName } from '../model/names.ts';
import type { Ingress } from '../model/service.ts';
import type { DirectObstacle, NodeHealth } from '../traffic/report.ts';
import type { TrafficNode } from '../traffic/table.ts';
import { directTrouble } from './direct-trouble.ts';

const n1 = node('n1', '192.0.2.11', '2001:db8::11');
const n2 = node('n2', '192.0.2.12');
const n3 = node('n3', '192.0.2.13');

type Known = Readonly<Record<string, { health?: NodeHealth; obstacle?: DirectObstacle; isDrained?: true }>>;

/** Of the three nodes, in IPv4. */
function wordsOf(known: Known): string | undefined {
  const health = new Map<NodeName, { readonly 4: NodeHealth }>();
  const directObstacles = new Map<NodeName, { readonly 4: DirectObstacle }>();
  const nodes = new Map<NodeName, TrafficNode>();
  for (const each of [n1, n2, n3]) {
    const { health: verdict, obstacle, isDrained = false } = known[each.name] ?? {};
    nodes.set(each.name, { ...each, state: isDrained ? 'drain' : 'active' });
    if (verdict !== undefined) health.set(each.name, { 4: verdict });
    if (obstacle !== undefined) directObstacles.set(each.name, { 4: obstacle });
  }
  return directTrouble({ nodes, health, directObstacles })[4];
}

test.each<[words: string, known: Known]>([
  [
    'n1 is drained; n2 is silent; kube-proxy on n3 has not shown a sync since the publication: read its log',
    { n1: { isDrained: true }, n2: { health: 'silent', obstacle: 'noAnswer' } },
  ],
  [
    'n2, n3 have not been shown to send packets with the address as source: the LAN may refuse them; kube-proxy on n1 has not shown a sync since the publication: read its log',
    { n2: { obstacle: 'unheard' }, n3: { obstacle: 'unheard' } },
  ],
  [
    'n1 is unhealthy; n2 is the load-balancer host itself; n3 has no address in a LAN of the load-balancer host',
    { n1: { health: 'unhealthy' }, n2: { obstacle: 'thisHost' }, n3: { obstacle: 'offLink' } },
  ],
  [
    'nft or the kernel of the load-balancer host lacks what direct needs: furiwake check says what',
    {
      n1: { obstacle: 'noTable', isDrained: true },
      n2: { obstacle: 'noTable', health: 'silent' },
      n3: { obstacle: 'noTable' },
    },
  ],
  [
    'n2 uses the load-balancer host as the gateway to clients outside the LAN, and it drops such answers: use another gateway, or furiwake.dev/dataplane=direct if all clients are on the LAN; n1, n3 have not been shown to send packets with the address as source: the LAN may refuse them',
    { n1: { obstacle: 'unheard' }, n2: { obstacle: 'crossing' }, n3: { obstacle: 'unheard' } },
  ],
  [
    'the MTU of n1, n2 is 1396 to 1403, not 1500, the MTU of n3 is 1501 or more, not 1500 like that of the load-balancer host: direct would lose large packets, so set the same MTU',
    {
      n1: { obstacle: { least: 1_396, most: 1_403, lan: 1_500 } },
      n2: { obstacle: { least: 1_396, most: 1_403, lan: 1_500 } },
      n3: { obstacle: { least: 1_501, most: undefined, lan: 1_500 } },
    },
  ],
  [
    'kube-proxy on n1, n2, n3 does not answer on port 10256: open the port to the load-balancer host',
    { n1: { obstacle: 'noAnswer' }, n2: { obstacle: 'noAnswer' }, n3: { obstacle: 'noAnswer' } },
  ],
])('says of each node why it gets no packets: %s', (words, known) => expect(wordsOf(known)).toBe(words));

test('names only nodes that have an address of the family', () => {
  const trouble = directTrouble({
    nodes: new Map([n1, n2].map((each) => [each.name, each])),
    health: new Map(),
    directObstacles: new Map(),
  });
  expect(trouble[6]).toBe('kube-proxy on n1 has not shown a sync since the publication: read its log');
});

/** A Service of `direct` whose status shows its addresses. */
function published(...ports: readonly ReturnType<typeof udp>[]): ReturnType<typeof makeService> {
  const ingress = ['192.0.2.8', '2001:db8::8'].map((ip): Ingress => ({
    ip,
    hostname: undefined,
    ipMode: 'VIP',
    ports: ports.map(({ port, protocol }) => ({ port, protocol })),
  }));
  return makeService('a', { dataplane: 'direct', ipFamilies: [4, 6], ports }, { status: { ingress } });
}

const dropping = { 4: 'n1 is off', 6: 'n1 is away' };
const messageOf = (status: ReturnType<typeof statusOf>): string | undefined =>
  status?.conditions.find(({ type }) => type === 'furiwake.dev/Serving')?.message;

test('a Service whose packets are dropped is not served, and keeps its addresses', () => {
  const status = statusOf([published(udp(53, 0))], { answer: (revision) => ({ revision }), dropping });
  expect(conditions(status)).toMatchObject({ Serving: 'False NotForwarding' });
  expect(status?.ingress).toHaveLength(2);
  expect(messageOf(status)).toBe(
    'packets for 192.0.2.8 are dropped, because direct has no node for them: n1 is off; port 53 without direct needs a nodePort (spec.allocateLoadBalancerNodePorts: true); packets for 2001:db8::8 are dropped, because direct has no node for them: n1 is away',
  );
});

test('a Service of which one port is dropped is partly served', () => {
  const service = published(udp(53, 0), tcp(53, 0));
  let count = 0;
  const status = statusOf([service], { answer: (revision) => ({ revision, isForwarding: ++count !== 1 }), dropping });
  expect(conditions(status)).toMatchObject({ Serving: 'True PartlyServing' });
  expect(messageOf(status)).toBe(
    'packets for port 53 of 192.0.2.8 are dropped, because direct has no node for them: n1 is off; port 53 without direct needs a nodePort (spec.allocateLoadBalancerNodePorts: true), or the annotation furiwake.dev/backends: pods on a host with routes to Pods',
  );
});

test('for TCP ports without a nodePort Pods as backends are named, too', () => {
  const service = published(tcp(80, 0), tcp(443, 0));
  const status = statusOf([service], { answer: (revision) => ({ revision }), dropping });
  expect(messageOf(status)).toContain(
    'ports 80, 443 without direct need nodePorts (spec.allocateLoadBalancerNodePorts: true), or the annotation furiwake.dev/backends: pods on a host with routes to Pods',
  );
});

test.each([
  ['HAProxy stands', [tcp(80)]],
  ['nat stands', [udp(53)]],
  ['HAProxy and nat stand', [udp(53), tcp(53)]],
])('while %s in, a Service is served, and says what it loses by that and why', (who, ports) => {
  const { spec, ...rest } = published(...ports);
  const service = { ...rest, spec: { ...spec, externalTrafficPolicy: 'Local', ipFamilies: [4] as const } };
  const status = statusOf([service], { answer: (revision) => ({ revision }), dropping });
  expect(conditions(status)).toMatchObject({ Serving: 'True FieldsNotHonoured' });
  expect(messageOf(status)).toBe(
    `serving, but ${who} in for direct, so Pods do not see the addresses of clients: n1 is off`,
  );
  expect(status?.ingress).toMatchObject([{ ipMode: 'VIP' }]);
});

test('while HAProxy stands in for a Service with affinity, no other dataplane is recommended', () => {
  const { spec, ...rest } = published(tcp(80));
  const service = { ...rest, spec: { ...spec, sessionAffinity: 'ClientIP', ipFamilies: [4] as const } };
  expect(messageOf(statusOf([service], { answer: (revision) => ({ revision }), dropping }))).toMatch(
    /^serving, but ignored: sessionAffinity=ClientIP \(one Pod per node\); HAProxy stands in for direct/,
  );
});

test('packets that are dropped briefly leave the condition as it is', () => {
  const answer: Parameters<typeof statusOf>[1] = { answer: (revision) => ({ revision }), dropping: 'briefly' };
  expect(conditions(statusOf([published(udp(53))], answer))).toMatchObject({ Serving: 'True Serving' });
  for (const [status, reason] of [
    ['False', 'NotForwarding'],
    ['True', 'PartlyServing'],
  ] as const) {
    const type = 'furiwake.dev/Serving';
    const shown = { type, status, reason, message: 'as before', lastTransitionTime: '2026-01-01T00:00:00Z' };
    const service = published(udp(53));
    const known = { ...service, status: { ...service.status, conditions: [shown] } };
    for (const hasEndpoints of [true, 'not known'] as const)
      expect(statusOf([known], { ...answer, hasEndpoints })?.conditions.at(-1)).toEqual(shown);
    expect(conditions(statusOf([known], { ...answer, hasEndpoints: false }))['Serving']).toBe('False NoEndpoints');
  }
});

test('a Service without nodes says so, and not that its packets are dropped', () => {
  const status = statusOf([published(udp(53))], { answer: (revision) => ({ revision }), dropping, nodes: [] });
  expect(conditions(status)).toMatchObject({ Serving: 'False NoNodes' });
  expect(messageOf(status)).not.toContain('dropped');
});

test('a port without its stand-in says so while its packets are dropped for more than a moment, and only then', () => {
  const answer = (isForwarding: boolean): Parameters<typeof statusOf>[1] => ({
    answer: (revision) => ({ revision, isForwarding, standInTrouble: 'HAProxy has not answered yet' }),
  });
  const { spec, ...rest } = published(tcp(80));
  const service = { ...rest, spec: { ...spec, ipFamilies: [4] as const } };
  const status = statusOf([service], { ...answer(false), dropping });
  expect(conditions(status)).toMatchObject({ Serving: 'False NotForwarding' });
  expect(messageOf(status)).toBe(
    'packets for 192.0.2.8 are dropped, because direct has no node for them: n1 is off; HAProxy cannot stand in: HAProxy has not answered yet',
  );
  for (const served of [{ ...answer(false), dropping: 'briefly' as const }, answer(true)])
    expect(conditions(statusOf([service], served))).toMatchObject({ Serving: 'True Serving' });
});

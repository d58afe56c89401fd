import { describe, expect, test } from 'vitest';
import { byKey, ip, makeHostFacts, makeNode, makeService, makeSite, poolOf, tcp } from '../../../test/make/service.ts';
import { makeAddressPlanner } from '../addresses/plan.ts';
import type { NodeName, ServiceKey } from '../model/names.ts';
import type { Service, ServiceSpec } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { Revision } from '../revision.ts';
import { makeTrafficPlanner } from '../traffic/plan.ts';
import { emptyReport, type HostReport, type ListenerReport } from '../traffic/report.ts';
import type { TrafficTable } from '../traffic/table.ts';
import { type DesiredStatus, desiredStatus } from './desired.ts';
import { nodeTrouble } from './node-trouble.ts';

/** What a host reports of each listener of a table. */
type Answer = (revision: ListenerReport['revision']) => Partial<ListenerReport> | undefined;

const ready: Answer = (revision) => ({ revision, isForwarding: true });
const refused: Answer = (revision) => ({
  refusal: { revision: revision!, verdict: { reason: 'DataplaneError', message: 'nft: no such thing' } },
});

function reportsOf({ listeners }: TrafficTable, answer: Answer): HostReport['listeners'] {
  return PersistentMap.from(
    [...listeners.values()].flatMap(({ key, revision, service }) => {
      const report = answer(revision);
      if (report === undefined) return [];
      const blank = { holder: service, revision: undefined, isForwarding: false, refusal: undefined };
      return [[key, { ...blank, ...report }] as const];
    }),
  );
}
const udp = { name: 'dns', protocol: 'UDP' as const, port: 53, nodePort: 30_053 };

/** The status of the first Service, when all of them share 192.0.2.8 (and 2001:db8::8) and there is one node. */
function statusOf(
  services: readonly Service[],
  {
    answer = ready,
    nodes = [makeNode('n1', '192.0.2.11', '2001:db8::11')],
    hasEndpoints = true,
    overBudget = new Set(),
    nowMs = 0,
  }: {
    answer?: Answer;
    nodes?: readonly ReturnType<typeof makeNode>[];
    hasEndpoints?: boolean | 'not known';
    overBudget?: ReadonlySet<ServiceKey>;
    nowMs?: number;
  } = {},
): DesiredStatus | undefined {
  const site = makeSite(['192.0.2.8', '2001:db8::8']);
  const { assignments } = makeAddressPlanner()({
    services: byKey(services),
    records: PersistentMap.empty(),
    site,
    host: makeHostFacts(),
    pool: poolOf(site),
  });
  const table = makeTrafficPlanner()({
    services: byKey(services),
    assignments,
    overBudget,
    nodes: new Map(nodes.map((node) => [node.name, node] as [NodeName, typeof node])),
    drained: new Set(),
  });
  const [service] = services;
  const assignment = assignments.get(service?.key ?? ('' as ServiceKey));
  if (service === undefined || assignment === undefined) throw new Error('the test has no Service');
  const byName = new Map(nodes.map((node) => [node.name, node]));
  return desiredStatus({
    service,
    assignment,
    listeners: table.listeners,
    reports: reportsOf(table, answer),
    nodeTrouble: nodeTrouble({ nodes: byName, table, health: emptyReport.health }),
    isOverBudget: overBudget.has(service.key),
    hasEndpoints: hasEndpoints === 'not known' ? undefined : hasEndpoints,
    nowMs,
  });
}

/** `type → status reason`. */
function conditions(status: DesiredStatus | undefined): Record<string, string> {
  return Object.fromEntries(
    (status?.conditions ?? []).map((each) => [each.type.replace('furiwake.dev/', ''), `${each.status} ${each.reason}`]),
  );
}

describe('the status of a Service', () => {
  test('publishes its address as a proxy’s, with every port, when all listeners are ready', () => {
    const status = statusOf([makeService('a', { ports: [tcp(80), tcp(443)] })]);
    const ports = [80, 443].map((port) => ({ port, protocol: 'TCP' }));
    expect(status?.ingress).toEqual([{ ip: '192.0.2.8', hostname: undefined, ipMode: 'Proxy', ports }]);
    expect(conditions(status)).toEqual({ AddressAssigned: 'True Assigned', Serving: 'True Serving' });
  });

  test('is not known while the host has not reported on a listener', () => {
    expect(statusOf([makeService('a')], { answer: () => undefined })).toBeUndefined();
  });

  test('publishes both families, in the order of the Service', () => {
    expect(statusOf([makeService('a', { ipFamilies: [6, 4] })])?.ingress.map((entry) => entry.ip)).toEqual([
      '2001:db8::8',
      '192.0.2.8',
    ]);
  });

  test('publishes nothing new when the dataplane refused, and quotes it', () => {
    const status = statusOf([makeService('a')], { answer: refused });
    expect(status?.ingress).toEqual([]);
    expect(conditions(status)).toMatchObject({ Serving: 'False DataplaneError' });
  });

  test('keeps an address published when a change to it was refused, for the old state still serves', () => {
    const published = {
      ip: '192.0.2.8',
      hostname: undefined,
      ipMode: 'Proxy',
      ports: [{ port: 80, protocol: 'TCP' }],
    };
    const old: Answer = (revision) => ({ ...refused(revision), revision: 'old' as Revision });
    expect(
      statusOf([makeService('a', {}, { status: { ingress: [published], ingressManager: 'furiwake' } })], {
        answer: old,
      })?.ingress,
    ).toEqual([published]);
  });

  test('serves the TCP port of a mixed Service and names the other one', () => {
    const status = statusOf([makeService('a', { ports: [tcp(53), udp] })]);
    expect(status?.ingress[0]?.ports).toEqual([
      { port: 53, protocol: 'TCP' },
      { port: 53, protocol: 'UDP', error: 'furiwake.dev/UnsupportedProtocol' },
    ]);
    expect(conditions(status)).toEqual({
      AddressAssigned: 'True Assigned',
      Serving: 'True PartlyServing',
      LoadBalancerPortsError: 'True LoadBalancerMixedProtocolNotSupported',
    });
  });

  test('of a Service with UDP only is the condition and no address', () => {
    const status = statusOf([makeService('a', { ports: [udp] })]);
    expect(status?.ingress).toEqual([]);
    expect(conditions(status)).toEqual({
      AddressAssigned: 'False UnsupportedProtocol',
      Serving: 'False UnsupportedProtocol',
      LoadBalancerPortsError: 'True UnsupportedProtocol',
    });
  });

  test('of a Service without nodePorts is the condition and no address', () => {
    const status = statusOf([makeService('a', { ports: [tcp(80, 0)] })]);
    expect(status?.ingress).toEqual([]);
    expect(conditions(status)).toMatchObject({ AddressAssigned: 'False NodePortMissing' });
  });

  test('is published without nodes, and says so', () => {
    const status = statusOf([makeService('a')], { nodes: [] });
    expect(status?.ingress).toHaveLength(1);
    expect(conditions(status)).toMatchObject({ Serving: 'False NoNodes' });
  });

  test('names why no node takes connections', () => {
    const labelled = { ...makeNode('n1', '192.0.2.11'), excluded: 'label' as const };
    const serving = (nodes: readonly ReturnType<typeof makeNode>[]): string | undefined =>
      statusOf([makeService('a')], { nodes })?.conditions.find(({ reason }) => reason === 'NoNodes')?.message;
    expect(serving([labelled])).toContain('node.kubernetes.io/exclude-from-external-load-balancers');
    expect(serving([])).toContain('the cluster has no nodes');
    expect(serving([makeNode('n1', '2001:db8::11')])).toContain('no node has an IPv4 address');
  });

  test('serves partly where one of two families has no node', () => {
    const status = statusOf([makeService('a', { ipFamilies: [4, 6] })], { nodes: [makeNode('n1', '192.0.2.11')] });
    expect(conditions(status)).toMatchObject({ Serving: 'True PartlyServing' });
    expect(status?.ingress).toHaveLength(2);
  });

  test('says that it has no ready endpoint', () => {
    expect(conditions(statusOf([makeService('a')], { hasEndpoints: false }))).toMatchObject({
      Serving: 'False NoEndpoints',
    });
  });

  test.each<
    [what: string, spec: Partial<ServiceSpec>, nodes: readonly ReturnType<typeof makeNode>[], serving?: string]
  >([
    ['nothing about serving', {}, [makeNode('n1', '192.0.2.11')]],
    ['nothing about ignored fields', { sessionAffinity: 'ClientIP' }, [makeNode('n1', '192.0.2.11')]],
    ['that no node takes connections', {}, [], 'False NoNodes'],
    [
      'that it is closed to all clients',
      { sourceRanges: ['2001:db8::/32'] },
      [makeNode('n1', '192.0.2.11')],
      'False InvalidSourceRanges',
    ],
  ])('says %s while its endpoints are not known, and has its address', (_, spec, nodes, serving) => {
    const status = statusOf([makeService('a', spec)], { hasEndpoints: 'not known', nodes });
    expect(conditions(status)).toEqual({
      AddressAssigned: 'True Assigned',
      ...(serving === undefined ? {} : { Serving: serving }),
    });
    expect(status?.ingress).toHaveLength(1);
  });

  test('says that source ranges leave a family closed', () => {
    const status = (sourceRanges: readonly string[]): DesiredStatus | undefined =>
      statusOf([makeService('a', { ipFamilies: [4, 6], sourceRanges })]);
    expect(conditions(status(['192.0.2.0/24']))).toMatchObject({ Serving: 'True InvalidSourceRanges' });
    expect(status(['192.0.2.0/24'])?.conditions[1]?.message).toContain('closed to all IPv6 clients');
    const four = statusOf([makeService('a', { sourceRanges: ['2001:db8::/32'] })]);
    expect(conditions(four)).toMatchObject({ Serving: 'False InvalidSourceRanges' });
  });

  test.each([
    [{ sessionAffinity: 'ClientIP' }, 'sessionAffinity=ClientIP (one Pod per node)'],
    [{ externalTrafficPolicy: 'Local' as const }, 'externalTrafficPolicy=Local (slow on nodes without a Pod)'],
    [{ ignoredAnnotations: ['example.com/pool'] }, 'annotation example.com/pool (one pool, one address per family)'],
    [
      { sessionAffinity: 'ClientIP', externalTrafficPolicy: 'Local' as const },
      'sessionAffinity=ClientIP (one Pod per node), externalTrafficPolicy=Local (slow on nodes without a Pod)',
    ],
  ])('says that %j is not followed yet', (spec, words) => {
    const status = statusOf([makeService('a', spec)]);
    expect(conditions(status)).toMatchObject({ Serving: 'True FieldsNotHonoured' });
    expect(status?.conditions.find((each) => each.reason === 'FieldsNotHonoured')?.message).toBe(
      `serving, but ignored: ${words}`,
    );
  });

  test('says which source range is not a CIDR', () => {
    const status = statusOf([makeService('a', { sourceRanges: ['192.0.2.0/24', 'all\nof them'] })]);
    expect(status?.conditions.find((each) => each.reason === 'InvalidSourceRanges')?.message).toContain(
      String.raw`"all\nof them"`,
    );
  });

  test('says everything that falls short, the gravest first', () => {
    const status = statusOf([
      makeService('a', { ports: [tcp(53), udp], sessionAffinity: 'ClientIP', sourceRanges: ['x'] }),
    ]);
    const serving = status?.conditions.find((each) => each.type === 'furiwake.dev/Serving');
    expect(serving?.reason).toBe('InvalidSourceRanges');
    for (const word of ['invalid CIDR', 'UDP port 53', 'sessionAffinity']) expect(serving?.message).toContain(word);
  });

  test('moves lastTransitionTime only when a condition turns', () => {
    const first = statusOf([makeService('a')], { nowMs: 1_000 });
    const again = statusOf(
      [makeService('a', { sessionAffinity: 'ClientIP' }, { status: { conditions: first?.conditions ?? [] } })],
      { nowMs: 9_000 },
    );
    expect(again?.conditions.map((each) => each.lastTransitionTime)).toEqual([
      '1970-01-01T00:00:01Z',
      '1970-01-01T00:00:01Z',
    ]);
    const turned = statusOf([makeService('a', {}, { status: { conditions: first?.conditions ?? [] } })], {
      nodes: [],
      nowMs: 9_000,
    });
    expect(turned?.conditions.map((each) => each.lastTransitionTime)).toEqual([
      '1970-01-01T00:00:01Z',
      '1970-01-01T00:00:09Z',
    ]);
  });

  test('keeps the present condition objects if they say the same', () => {
    const first = statusOf([makeService('a')]);
    const again = statusOf([makeService('a', {}, { status: { conditions: first?.conditions ?? [] } })], {
      nowMs: 9_000,
    });
    expect(again?.conditions[0]).toBe(first?.conditions[0]);
  });

  test('refuses a port that another Service has on one of two addresses there only', () => {
    const services = [
      makeService('a', { ipFamilies: [4, 6], loadBalancerIp: '192.0.2.8' }, { createdAtMs: 2 }),
      makeService('b', { ipFamilies: [6] }, { createdAtMs: 1 }),
    ];
    expect(statusOf(services)?.ingress.map((entry) => entry.ip)).toEqual(['192.0.2.8']);
  });
});

test('a Service with more source ranges than one may have is closed, and says so', () => {
  const sourceRanges = Array.from({ length: 6_000 }, (_, index) => `10.${index >> 7}.${(index & 127) * 2}.0/24`);
  const one = makeService('a', { sourceRanges });
  expect(conditions(statusOf([one]))).toMatchObject({ Serving: 'True Serving' });
  const two = makeService('a', { sourceRanges, ports: [tcp(80), tcp(443)] });
  expect(conditions(statusOf([two]))).toMatchObject({ Serving: 'False TooManySourceRanges' });
});

test('a Service for whose source ranges older Services leave no room is closed, and says so', () => {
  const one = makeService('a', { sourceRanges: ['198.51.100.0/24'] });
  const status = statusOf([one], { overBudget: new Set([one.key]) });
  expect(conditions(status)).toMatchObject({ Serving: 'False TooManySourceRanges' });
  expect(status?.conditions.find(({ type }) => type.endsWith('Serving'))?.message).toBe(
    'closed to all clients: loadBalancerSourceRanges make 1 range over all ports and families, and older Services leave fewer of the 30000 of this load balancer',
  );
});

test('a table has the source ranges of its family, merged, and is closed where the Service has none of it', () => {
  const services = [makeService('a', { ipFamilies: [4, 6], sourceRanges: ['198.51.100.0/25', '198.51.100.128/25'] })];
  const site = makeSite(['192.0.2.8', '2001:db8::8']);
  const { assignments } = makeAddressPlanner()({
    services: byKey(services),
    records: PersistentMap.empty(),
    site,
    host: makeHostFacts(),
    pool: poolOf(site),
  });
  const { listeners } = makeTrafficPlanner()({
    services: byKey(services),
    assignments,
    overBudget: new Set(),
    nodes: new Map(),
    drained: new Set(),
  });
  const byFamily = [...listeners.values()].toSorted((a, b) => a.address.family - b.address.family);
  expect(byFamily.map((listener) => listener.sourceRanges)).toEqual([
    [{ family: 4, first: ip('198.51.100.0').value, last: ip('198.51.100.255').value }],
    [],
  ]);
});

import { describe, expect, test } from 'vitest';
import { byKey, ip, makeNode, makeService, makeSite, tcp } from '../../../test/make/service.ts';
import { makeAddressPlanner } from '../addresses/plan.ts';
import type { NodeName, ServiceKey } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { makeTrafficPlanner } from '../traffic/plan.ts';
import { type DesiredStatus, desiredStatus, type Readiness } from './desired.ts';

const ready: Readiness = { get: () => 'ready' };
const udp = { name: 'dns', protocol: 'UDP' as const, port: 53, nodePort: 30_053 };

/** The status of the first Service, when all of them share 192.0.2.8 (and 2001:db8::8) and there is one node. */
function statusOf(
  services: readonly Service[],
  { readiness = ready, nodes = [makeNode('n1', '192.0.2.11', '2001:db8::11')], nowMs = 0 } = {},
): DesiredStatus | undefined {
  const site = makeSite(['192.0.2.8', '2001:db8::8']);
  const { assignments } = makeAddressPlanner()({
    services: byKey(services),
    records: PersistentMap.empty(),
    site,
    host: { ownAddresses: [], listening: [] },
    nodeAddresses: new Map(),
    pool: site.ranges,
    lingering: new Map(),
  });
  const table = makeTrafficPlanner()({
    services: byKey(services),
    assignments,
    nodes: new Map(nodes.map((node) => [node.name, node] as [NodeName, typeof node])),
    drained: new Set(),
  });
  const [service] = services;
  const assignment = assignments.get(service?.key ?? ('' as ServiceKey));
  if (service === undefined || assignment === undefined) throw new Error('the test has no Service');
  const served = new Set(service.status.ingress.flatMap(({ ip: text }) => text ?? []));
  return desiredStatus({ service, assignment, readiness, served, nodes: table.nodes, nowMs });
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

  test('is not known while a listener has not been answered', () => {
    expect(statusOf([makeService('a')], { readiness: { get: () => undefined } })).toBeUndefined();
  });

  test('publishes both families', () => {
    expect(statusOf([makeService('a', { ipFamilies: [6, 4] })])?.ingress.map((entry) => entry.ip)).toEqual([
      '192.0.2.8',
      '2001:db8::8',
    ]);
  });

  test('publishes nothing new when the data plane refused, and says its words', () => {
    const refused: Readiness = { get: () => ({ reason: 'DataplaneError', message: 'nft: no such thing' }) };
    const status = statusOf([makeService('a')], { readiness: refused });
    expect(status?.ingress).toEqual([]);
    expect(conditions(status)).toMatchObject({ Serving: 'False DataplaneError' });
  });

  test('keeps an address published when a change to it was refused, for the old state still serves', () => {
    const refused: Readiness = { get: () => ({ reason: 'DataplaneError', message: 'nft: no such thing' }) };
    const published = { ip: '192.0.2.8', hostname: undefined, ipMode: 'Proxy', ports: [] };
    expect(
      statusOf([makeService('a', {}, { status: { ingress: [published], ingressManager: 'furiwake' } })], {
        readiness: refused,
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

  test.each([
    [{ sessionAffinity: 'ClientIP' }, 'sessionAffinity'],
    [{ externalTrafficPolicy: 'Local' }, 'externalTrafficPolicy'],
  ])('says that %j is not followed yet', (spec, field) => {
    const status = statusOf([makeService('a', spec)]);
    expect(conditions(status)).toMatchObject({ Serving: 'True FieldsNotHonoured' });
    expect(status?.conditions.find((each) => each.reason === 'FieldsNotHonoured')?.message).toContain(field);
  });

  test('says which source range is no CIDR', () => {
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
    for (const word of ['no CIDR', 'UDP port 53', 'sessionAffinity']) expect(serving?.message).toContain(word);
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

  test('gives back the very conditions that are there when they say the same', () => {
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

test('more source ranges than one Service may have let nobody in, and it says so', () => {
  const sourceRanges = Array.from({ length: 6_000 }, (_, index) => `10.${index >> 7}.${(index & 127) * 2}.0/24`);
  const one = makeService('a', { sourceRanges });
  expect(conditions(statusOf([one]))).toMatchObject({ Serving: 'True Serving' });
  const two = makeService('a', { sourceRanges, ports: [tcp(80), tcp(443)] });
  expect(conditions(statusOf([two]))).toMatchObject({ Serving: 'True TooManySourceRanges' });
});

test('a table has the source ranges of its family, merged, and is closed where the Service has none of it', () => {
  const services = [makeService('a', { ipFamilies: [4, 6], sourceRanges: ['198.51.100.0/25', '198.51.100.128/25'] })];
  const site = makeSite(['192.0.2.8', '2001:db8::8']);
  const { assignments } = makeAddressPlanner()({
    services: byKey(services),
    records: PersistentMap.empty(),
    site,
    host: { ownAddresses: [], listening: [] },
    nodeAddresses: new Map(),
    pool: site.ranges,
    lingering: new Map(),
  });
  const { rows } = makeTrafficPlanner()({
    services: byKey(services),
    assignments,
    nodes: new Map(),
    drained: new Set(),
  });
  const byFamily = [...rows.values()].toSorted((a, b) => a.address.family - b.address.family);
  expect(byFamily.map((row) => row.sourceRanges)).toEqual([
    [{ family: 4, first: ip('198.51.100.0').value, last: ip('198.51.100.255').value }],
    [],
  ]);
});

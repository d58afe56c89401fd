import { describe, expect, test } from 'vitest';
import { assignedAddress, byKey, makeNode, makeService, ranges, tcp, udp } from '../../../test/make/service.ts';
import { directListener, listener, nodeName } from '../../../test/make/table.ts';
import type { BackendId } from '../model/names.ts';
import { PersistentMap } from '../persistent-map.ts';
import { hostBackend, isHostBackend, mostHostPods, planHostPods } from './host-pods.ts';
import { makeTrafficPlanner, type TrafficInput } from './plan.ts';
import type { EndpointGroup, PodPlace } from './pods.ts';
import { emptyReport } from './report.ts';
import type { TrafficTable } from './table.ts';

const place: PodPlace = {
  routed: ranges('10.244.0.0/16'),
  reserved: new Map(),
  pool: [],
  zone: undefined,
  drained: new Set(),
};

function group(addresses: readonly string[], { port = 5353, isReady = true } = {}): EndpointGroup {
  return {
    family: 4,
    ports: [
      { name: 'p53', protocol: 'UDP', port },
      { name: 'p53', protocol: 'TCP', port },
    ],
    endpoints: addresses.map((address) => ({ address, node: nodeName('n1'), isReady })),
    nodes: [],
  };
}

const addresses = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => `10.244.${index % 7}.${index + 1}`);
const planned = (...groups: readonly EndpointGroup[]): readonly string[] =>
  planHostPods(4, udp(53), groups, place).pods.map(({ address }) => address.text);

test('only listeners that nothing else serves have Pods for the host, those of each protocol their own', () => {
  expect(hostBackend(directListener('192.0.2.200', 53))).toBe('own4:test/service:53/UDP');
  expect(hostBackend(directListener('2001:db8::1', 53, { protocol: 'TCP' }))).toBe('own6:test/service:53/TCP');
  expect(hostBackend(directListener('192.0.2.200', 53, { standIn: 'nat' }))).toBeUndefined();
  expect(hostBackend(listener('192.0.2.200', 80, 30_080))).toBeUndefined();
  expect(['own4:test/service:53/UDP', 'pods4:a/b:53', 'nodes4'].map((id) => isHostBackend(id as BackendId))).toEqual([
    true,
    false,
    false,
  ]);
});

describe('the Pods for the host', () => {
  test('are at most 32, which stay when others come', () => {
    const some = planned(group(addresses(40)));
    expect(some).toHaveLength(mostHostPods);
    const more = planned(group(addresses(44)));
    expect(more).toHaveLength(mostHostPods);
    expect(some.filter((text) => !more.includes(text)).length).toBeLessThanOrEqual(4);
    expect(planned(group(addresses(40).slice(0, 20)), group(addresses(40).slice(20)))).toEqual(some);
  });

  test('are those that take connections before those that terminate', () => {
    const [first, second] = [addresses(mostHostPods), ['10.244.9.1', '10.244.9.2']];
    expect(planned(group(first), group(second, { isReady: false }))).toEqual([...first].toSorted());
  });

  test('have one target port, that of most of them', () => {
    expect(planned(group(['10.244.1.1'], { port: 99 }), group(['10.244.1.2', '10.244.1.3']))).toEqual([
      '10.244.1.2',
      '10.244.1.3',
    ]);
  });
});

describe('the table', () => {
  const bare = makeService('bare', { ports: [udp(53, 0), tcp(53, 0), tcp(80)] });
  const plain = makeService('plain');
  const inputOf = (groups: readonly EndpointGroup[] | undefined, more: Partial<TrafficInput> = {}): TrafficInput => ({
    services: byKey([bare, plain]),
    assignments: PersistentMap.from(
      [bare, plain].map((service, index) => [
        service.key,
        {
          addresses: [assignedAddress(`192.0.2.20${index}`, service.spec.ports)],
          verdict: { reason: 'Assigned', message: '' },
          refused: [],
          disowned: [],
          keepsStatus: false,
          waitsForHost: false,
        },
      ]),
    ),
    overBudget: new Set(),
    overProfiles: new Map(),
    overServers: new Map(),
    onLink: emptyReport.onLink,
    nodes: new Map([[nodeName('n1'), makeNode('n1', '192.0.2.11')]]),
    drained: new Set(),
    drainedServices: new Set(),
    endpoints: groups && PersistentMap.from([[bare.key, groups]]),
    podPlace: place,
    ...more,
  });
  const shown = ({ pods }: TrafficTable): readonly string[] =>
    Array.from(pods, ([id, { pods: those }]) => `${id} ${those.map(({ address }) => address.text).join()}`).toSorted();

  test('has the routed Pods of ports that only direct serves; an endpoint that changes changes no listener', () => {
    const plan = makeTrafficPlanner();
    const given = inputOf([]);
    const endpointsOf = (...texts: readonly string[]): TrafficInput => ({
      ...given,
      endpoints: inputOf([group(texts)]).endpoints,
    });
    const first = plan(endpointsOf('10.244.1.7', '10.9.9.9'));
    expect(shown(first)).toEqual(['own4:default/bare:53/TCP 10.244.1.7', 'own4:default/bare:53/UDP 10.244.1.7']);
    const second = plan(endpointsOf('10.244.1.8'));
    expect(shown(second)).toEqual(['own4:default/bare:53/TCP 10.244.1.8', 'own4:default/bare:53/UDP 10.244.1.8']);
    expect(PersistentMap.changedKeys(first.listeners, second.listeners)).toEqual([]);
    expect(second.backends).toBe(first.backends);
    const unrouted = plan({ ...endpointsOf('10.244.1.8'), podPlace: { ...place, routed: [] } });
    expect(shown(unrouted)).toEqual(['own4:default/bare:53/TCP ', 'own4:default/bare:53/UDP ']);
  });

  test('has none while the endpoints are not known, of a port that gets a NodePort, or of a Service that is gone', () => {
    const plan = makeTrafficPlanner();
    const groups = [group(['10.244.1.7'])];
    expect(shown(plan(inputOf(undefined)))).toEqual([]);
    expect(shown(plan(inputOf(groups)))).toHaveLength(2);
    const ported = { ...bare, spec: { ...bare.spec, ports: [udp(53), tcp(53, 0), tcp(80)] } };
    const assignments = inputOf(groups).assignments.with([
      [
        bare.key,
        {
          ...inputOf(groups).assignments.get(bare.key)!,
          addresses: [assignedAddress('192.0.2.200', ported.spec.ports)],
        },
      ],
    ]);
    const one = plan(inputOf(groups, { services: byKey([ported, plain]), assignments }));
    expect(shown(one)).toEqual(['own4:default/bare:53/TCP 10.244.1.7']);
    expect(shown(plan(inputOf(groups, { services: byKey([plain]) })))).toEqual([]);
  });
});

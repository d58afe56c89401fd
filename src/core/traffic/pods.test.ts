import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { byKey, ip, makeNode, makeService, makeHostFacts, ranges, tcp, udp } from '../../../test/make/service.ts';
import { nodeName } from '../../../test/make/table.ts';
import type { Assignment } from '../addresses/assignment.ts';
import type { ServicePort } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { ServiceEndpoints } from './local.ts';
import { makeTrafficPlanner, type TrafficInput } from './plan.ts';
import { choosePods, countPods, type EndpointGroup, makePodPlace, needsNodePorts, type PodPlace } from './pods.ts';
import { emptyReport } from './report.ts';
import { podBackend, serviceOfBackend, type TrafficTable } from './table.ts';

const place: PodPlace = {
  routed: ranges('10.244.0.0/16', '127.0.0.0/8', '169.254.0.0/16', '192.0.2.0/24', 'fd00::/64'),
  reserved: new Map([
    ['192.0.2.10', 'address of the load-balancer host'],
    ['192.0.2.2', 'API server'],
  ]),
  pool: ranges('192.0.2.200-192.0.2.210'),
  zone: 'rack-1',
  drained: new Set(),
};

function group(
  addresses: readonly string[],
  more: Partial<EndpointGroup> & { readonly isReady?: boolean; readonly port?: number } = {},
): EndpointGroup {
  const { isReady = true, port = 8080, ...rest } = more;
  return {
    family: 4,
    ports: [{ name: 'p80', protocol: 'TCP', port }],
    endpoints: addresses.map((address) => ({ address, node: nodeName('n1'), isReady })),
    nodes: [],
    ...rest,
  };
}

function chosen(groups: readonly EndpointGroup[], port: ServicePort = tcp(80)): readonly string[] {
  return choosePods(4, port, groups, place).pods.map(
    (pod) => `${pod.address.text}:${pod.port}${pod.isDraining ? ' draining' : ''}`,
  );
}

describe('the Pods of a port', () => {
  test('have the target port of their EndpointSlice; the name and the protocol of the port select it', () => {
    const ports = [
      { name: 'p80', protocol: 'UDP' as const, port: 1 },
      { name: 'p80', protocol: 'TCP' as const, port: 8080 },
      { name: 'p443', protocol: 'TCP' as const, port: 8443 },
    ];
    const groups = [group(['10.244.1.7'], { ports }), group(['10.244.2.9'], { port: 9090 })];
    expect(chosen(groups)).toEqual(['10.244.1.7:8080', '10.244.2.9:9090']);
    expect(chosen(groups, tcp(443))).toEqual(['10.244.1.7:8443']);
    expect(chosen(groups, tcp(81))).toEqual([]);
  });

  test('are those of the family', () => {
    const six = group(['fd00::7'], { family: 6 });
    expect(chosen([six, group(['10.244.1.7'])])).toEqual(['10.244.1.7:8080']);
    expect(choosePods(6, tcp(80), [six], place).pods).toEqual([
      { address: ip('fd00::7'), port: 8080, node: 'n1', isDraining: false },
    ]);
  });

  test('drain while they terminate and another one is ready, and take connections while none is', () => {
    const terminating = group(['10.244.1.7'], { isReady: false });
    expect(chosen([terminating, group(['10.244.2.9'])])).toEqual(['10.244.1.7:8080 draining', '10.244.2.9:8080']);
    expect(chosen([terminating])).toEqual(['10.244.1.7:8080']);
    expect(chosen([terminating, group(['10.244.1.7'])])).toEqual(['10.244.1.7:8080']);
  });

  test.each([
    ['0.0.0.0', 'unspecified address'],
    ['127.0.0.1', 'loopback address'],
    ['169.254.169.254', 'link-local address'],
    ['224.0.0.1', 'multicast address'],
    ['255.255.255.255', 'multicast address'],
    ['192.0.2.10', 'address of the load-balancer host'],
    ['192.0.2.2', 'API server'],
    ['192.0.2.205', 'address of the pool of Services'],
    ['fd00::7', 'not an IPv4 address'],
    ['10.244.1.7:80\nserver x', 'not an IPv4 address'],
  ])('are never %j: %s', (address, what) => {
    const choice = choosePods(4, tcp(80), [group([address, '10.244.1.7'])], place);
    expect(choice.pods.map((pod) => pod.address.text)).toEqual(['10.244.1.7']);
    expect([...choice.refused.values()]).toEqual([address === '255.255.255.255' ? 'broadcast address' : what]);
  });

  test.each(['::', '::1', 'fe80::1', 'ff02::1', '::ffff:127.0.0.1'])('are never %s', (address) => {
    const open = { ...place, routed: ranges('::/0') };
    expect(choosePods(6, tcp(80), [group([address], { family: 6 })], open)).toMatchObject({ pods: [] });
  });

  test('are those for the zone of the host, if all that are ready are for some zone, and one for this', () => {
    const slice = (hints: Readonly<Record<string, readonly string[] | undefined>>, isReady = true): EndpointGroup => ({
      ...group([]),
      endpoints: Object.entries(hints).map(([address, zones]) => {
        const endpoint = { address, node: nodeName('n1'), isReady };
        return zones === undefined ? endpoint : { ...endpoint, zones };
      }),
    });
    const [a, b, c] = ['10.244.1.7', '10.244.1.8', '10.244.1.9'];
    const [near, far] = [['rack-1'], ['rack-2', 'rack-3']];
    expect(chosen([slice({ [a]: far, [b]: near, [c]: ['rack-2', 'rack-1'] })])).toEqual([
      `${a}:8080 draining`,
      `${b}:8080`,
      `${c}:8080`,
    ]);
    expect(chosen([slice({ [a]: far, [b]: far })])).toEqual([`${a}:8080`, `${b}:8080`]);
    expect(chosen([slice({ [a]: undefined, [b]: near })])).toEqual([`${a}:8080`, `${b}:8080`]);
    // Only those that are ready count: a terminating one for this zone is not preferred, and one without hints changes nothing.
    expect(chosen([slice({ [a]: far }), slice({ [b]: near }, false)])).toEqual([`${a}:8080`, `${b}:8080 draining`]);
    expect(chosen([slice({ [a]: near, [c]: far }), slice({ [b]: undefined }, false)])).toEqual([
      `${a}:8080`,
      `${b}:8080 draining`,
      `${c}:8080 draining`,
    ]);
    const nowhere = choosePods(4, tcp(80), [slice({ [a]: near, [b]: far })], { ...place, zone: undefined });
    expect(nowhere.pods.map(({ isDraining }) => isDraining)).toEqual([false, false]);
    // Those on drained nodes take none: others must.
    const elsewhere = {
      ...slice({ [c]: far }),
      endpoints: [{ address: c, node: nodeName('n2'), isReady: true, zones: far }],
    };
    const drained = choosePods(4, tcp(80), [slice({ [a]: near }), elsewhere], {
      ...place,
      drained: new Set([nodeName('n1')]),
    });
    expect(drained.pods.map(({ isDraining }) => isDraining)).toEqual([false, false]);
  });

  test('are only those to which the host has a route; with a route to none, NodePorts serve where there are some', () => {
    const some = choosePods(4, tcp(80), [group(['10.9.0.1', '10.244.1.7'])], place);
    expect(some).toMatchObject({ pods: [{ port: 8080 }], unrouted: ['10.9.0.1'] });
    expect(needsNodePorts(some, tcp(80))).toBe(false);
    const none = choosePods(4, tcp(80), [group(['10.9.0.1'])], place);
    expect(needsNodePorts(none, tcp(80))).toBe(true);
    expect(needsNodePorts(none, tcp(80, 0))).toBe(false);
    expect(needsNodePorts(choosePods(4, tcp(80), [], place), tcp(80))).toBe(false);
  });

  test('do not depend on the order of EndpointSlices', () => {
    const anyGroup = fc
      .record({
        addresses: fc.array(fc.constantFrom('10.244.1.7', '10.244.1.70', '10.244.2.9', '10.9.0.1', '127.0.0.1')),
        isReady: fc.boolean(),
        port: fc.constantFrom(80, 8080),
      })
      .map(({ addresses, ...more }) => group(addresses, more));
    fc.assert(
      fc.property(fc.array(anyGroup), (groups) => {
        expect(choosePods(4, tcp(80), groups.toReversed(), place)).toEqual(choosePods(4, tcp(80), groups, place));
      }),
    );
  });
});

test('the place stays the same object while its parts do', () => {
  const placeOf = makePodPlace('rack-1');
  const facts = makeHostFacts({ ownAddresses: [ip('192.0.2.10')], needs: new Map([['192.0.2.2', 'API server']]) });
  const first = placeOf(place, facts);
  expect(first).toEqual(place);
  expect(placeOf({ ...place }, facts)).toBe(first);
  const elsewhere = placeOf({ ...place, pool: ranges('192.0.2.0/28') }, facts);
  expect(elsewhere).not.toBe(first);
  expect(placeOf({ ...elsewhere, routed: [] }, facts)).not.toBe(elsewhere);
  expect(placeOf({ ...place, drained: new Set([nodeName('n1')]) }, facts).drained.size).toBe(1);
});

describe('the table of Services that ask for Pods', () => {
  const web = makeService('web', { backends: 'pods', ports: [tcp(80), udp(53)] });
  const plain = makeService('plain');
  const assigned = (address: string, served: readonly ServicePort[]): Assignment => ({
    addresses: [{ ip: ip(address), isHostAddress: false, served, unserved: [] }],
    verdict: { reason: 'Assigned', message: '' },
    refused: [],
    disowned: [],
    keepsStatus: false,
    waitsForHost: false,
  });
  const inputOf = (groups: readonly EndpointGroup[] | undefined, more: Partial<TrafficInput> = {}): TrafficInput => ({
    services: byKey([web, plain]),
    assignments: PersistentMap.from([
      [web.key, assigned('192.0.2.200', web.spec.ports)],
      [plain.key, assigned('192.0.2.201', plain.spec.ports)],
    ]),
    overBudget: new Set(),
    overProfiles: new Map(),
    overServers: new Map(),
    onLink: emptyReport.onLink,
    nodes: new Map([[nodeName('n1'), makeNode('n1', '192.0.2.11')]]),
    drained: new Set(),
    drainedServices: new Set(),
    endpoints: groups && PersistentMap.from([[web.key, groups satisfies ServiceEndpoints]]),
    podPlace: place,
    ...more,
  });
  const id = podBackend(4, web.key, 80);
  const podsOf = (table: TrafficTable): readonly string[] | undefined =>
    table.pods.get(id)?.pods.map(({ address }) => address.text);
  const backends = (table: TrafficTable): readonly string[] =>
    Array.from(table.listeners.values(), ({ key, backend }) => `${key} ${backend}`).sort();

  test('an endpoint that changes changes one backend, and no listener', () => {
    const plan = makeTrafficPlanner();
    const given = inputOf([]);
    const endpointsOf = (...addresses: readonly string[]): TrafficInput => ({
      ...given,
      endpoints: inputOf([group(addresses)]).endpoints,
    });
    const first = plan(endpointsOf('10.244.1.7'));
    expect(podsOf(first)).toEqual(['10.244.1.7']);
    expect(backends(first)).toEqual([
      '192.0.2.200|53|UDP nodes4',
      '192.0.2.200|80|TCP pods4:default/web:80',
      '192.0.2.201|80|TCP nodes4',
    ]);
    expect(serviceOfBackend(id)).toBe(web.key);
    expect(countPods(web, first)).toBe(1);
    expect(countPods(plain, first)).toBeUndefined();
    const second = plan(endpointsOf('10.244.1.7', '10.244.2.9'));
    expect(podsOf(second)).toEqual(['10.244.1.7', '10.244.2.9']);
    expect(PersistentMap.changedKeys(first.listeners, second.listeners)).toEqual([]);
    expect(second.backends).toBe(first.backends);
    expect(podsOf(plan(given))).toEqual([]);
  });

  test('without routes to Pods NodePorts serve, and Pods again with them', () => {
    const plan = makeTrafficPlanner();
    const given = inputOf([group(['10.244.1.7'])]);
    plan(given);
    const without = plan({ ...given, podPlace: { ...place, routed: [] } });
    expect(backends(without)).toContain('192.0.2.200|80|TCP nodes4');
    expect([...without.pods]).toEqual([]);
    expect(podsOf(plan(given))).toEqual(['10.244.1.7']);
  });

  test('with more servers than it gets, a Service has NodePorts, and a port without one some of its Pods', () => {
    const plan = makeTrafficPlanner();
    const given = inputOf([group(['10.244.1.7', '10.244.2.9', '10.244.3.5'])]);
    const excess = { wanted: 9_000, most: 2, limit: 'service' } as const;
    plan(given);
    const over = plan({ ...given, overServers: new Map([[web.key, excess]]) });
    expect(backends(over)).toContain('192.0.2.200|80|TCP nodes4');
    expect([...over.pods]).toEqual([]);
    expect(podsOf(plan(given))).toHaveLength(3);

    const bare = makeService('web', { ports: [tcp(80, 0)], backends: 'pods' });
    const some = plan({
      ...given,
      services: byKey([bare]),
      assignments: PersistentMap.from([[bare.key, assigned('192.0.2.200', bare.spec.ports)]]),
      overServers: new Map([[bare.key, excess]]),
    });
    expect(podsOf(some)).toHaveLength(2);
  });

  test('while endpoints are not known the backend is missing, and a Service that is gone leaves none', () => {
    const plan = makeTrafficPlanner();
    const unknown = plan(inputOf(undefined));
    expect(backends(unknown)).toContain('192.0.2.200|80|TCP pods4:default/web:80');
    expect([...unknown.pods]).toEqual([]);
    expect(podsOf(plan(inputOf([group(['10.244.1.7'])])))).toEqual(['10.244.1.7']);
    expect([...plan(inputOf([group(['10.244.1.7'])], { services: byKey([plain]) })).pods]).toEqual([]);
  });
});

test('the endpoints of a Service are judged once for all of its ports, and again for another place', () => {
  const read: string[] = [];
  const counted = {
    node: nodeName('n1'),
    isReady: true,
    get address(): string {
      read.push('address');
      return '10.244.1.7';
    },
  };
  const ports = [80, 443].map((port) => ({ name: `p${port}`, protocol: 'TCP' as const, port: 8000 + port }));
  const groups = [group([], { ports, endpoints: [counted] })];
  expect([...chosen(groups, tcp(80)), ...chosen(groups, tcp(443))]).toEqual(['10.244.1.7:8080', '10.244.1.7:8443']);
  expect(read).toHaveLength(1);
  const elsewhere = choosePods(4, tcp(80), groups, { ...place, routed: [] });
  expect([elsewhere.pods.length, elsewhere.unrouted]).toEqual([0, ['10.244.1.7']]);
});

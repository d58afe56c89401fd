import { describe, expect, test } from 'vitest';
import { byKey, ip, makeService, tcp, udp } from '../../../test/make/service.ts';
import { nodeName } from '../../../test/make/table.ts';
import type { ServiceKey } from '../model/names.ts';
import type { Service, ServicePort } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { ServiceEndpoints } from './local.ts';
import {
  leastServers,
  makeServerBudget,
  needsFewerServers,
  type ServerExcess,
  type ServerExcesses,
  withinExcess,
} from './server-budget.ts';
import type { PodServer } from './table.ts';

const bare = (port: number): ServicePort => tcp(port, 0);

/** A Service that asks for Pods; the younger, the greater `age`. */
const asking = (name: string, age: number, ports: readonly ServicePort[], backends: string = 'pods'): Service =>
  makeService(name, { ports, backends }, { createdAtMs: age });

const endpointsOf = (count: number, ports: readonly ServicePort[]): ServiceEndpoints => [
  {
    family: 4,
    nodes: [],
    ports: ports.map(({ name, protocol }) => ({ name, protocol, port: 8080 })),
    endpoints: Array.from({ length: count }, (_, index) => ({
      address: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`,
      node: nodeName('n1'),
      isReady: true,
    })),
  },
];

type Asked = readonly [service: Service, pods: number];

const inputOf = (...asked: readonly Asked[]): Parameters<ReturnType<typeof makeServerBudget>>[0] => ({
  services: byKey(asked.map(([service]) => service)),
  endpoints: PersistentMap.from<ServiceKey, ServiceEndpoints>(
    asked.map(([service, pods]) => [service.key, endpointsOf(pods, service.spec.ports)]),
  ),
});

const found = (excesses: ServerExcesses): Readonly<Record<string, ServerExcess>> => Object.fromEntries(excesses);

const own = (wanted: number): ServerExcess => ({ wanted, most: 20, limit: 'service' });
const shared = (wanted: number): ServerExcess => ({ wanted, most: leastServers, limit: 'host' });

test('endpoints of a family that the Service does not have count for nothing', () => {
  const service = asking('a', 1, [tcp(80)]);
  const [of4] = endpointsOf(20, service.spec.ports);
  const both = [of4!, { ...of4!, family: 6 as const }];
  const excessOf = (ipFamilies: Service['spec']['ipFamilies']): unknown =>
    makeServerBudget(
      20,
      50,
    )({
      services: byKey([{ ...service, spec: { ...service.spec, ipFamilies } }]),
      endpoints: PersistentMap.from<ServiceKey, ServiceEndpoints>([[service.key, both]]),
    }).get(service.key);
  expect(excessOf([4])).toBeUndefined();
  expect(excessOf([4, 6])).toEqual(own(40));
});

describe('with 20 servers for a Service and 50 for the host', () => {
  test.each<[string, readonly Asked[], Readonly<Record<string, ServerExcess>>]>([
    ['a Service within its limit', [[asking('a', 1, [tcp(80)]), 20]], {}],
    ['each port counts', [[asking('a', 1, [tcp(80), tcp(81)]), 11]], { 'default/a': own(22) }],
    ['UDP does not', [[asking('a', 1, [tcp(80), udp(53)]), 20]], {}],
    ['a Service without the annotation', [[makeService('a'), 500]], {}],
    ['one with an invalid annotation', [[asking('a', 1, [tcp(80)], 'no'), 500]], {}],
    [
      'of three that fit alone the youngest does not fit',
      [
        [asking('b', 2, [tcp(80)]), 20],
        [asking('c', 3, [tcp(80)]), 20],
        [asking('a', 1, [tcp(80)]), 20],
      ],
      { 'default/c': shared(20) },
    ],
    [
      'a younger one that fits is served',
      [
        [asking('a', 1, [tcp(80)]), 20],
        [asking('b', 2, [tcp(80)]), 20],
        [asking('c', 3, [tcp(80)]), 20],
        [asking('d', 4, [tcp(80)]), 10],
      ],
      { 'default/c': shared(20) },
    ],
    [
      'one above its limit uses NodePorts, and takes no servers from others',
      [
        [asking('a', 1, [tcp(80)]), 60],
        [asking('b', 2, [tcp(80)]), 20],
        [asking('c', 3, [tcp(80)]), 20],
      ],
      { 'default/a': own(60) },
    ],
    [
      'one above its limit without NodePorts takes as many as its limit',
      [
        [asking('a', 1, [bare(80)]), 60],
        [asking('b', 2, [tcp(80)]), 20],
        [asking('c', 3, [tcp(80)]), 20],
      ],
      { 'default/a': own(60), 'default/c': shared(20) },
    ],
  ])('%s', (_, asked, expected) => {
    expect(found(makeServerBudget(20, 50)(inputOf(...asked)))).toEqual(expected);
  });

  test('the result follows endpoints and Services, and is that of a new budget; the same object while nothing changes', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((name, age) => asking(name, age, [tcp(80)])) as [Service, Service, Service];
    const budget = makeServerBudget(20, 50);
    const inputs = [
      inputOf([a, 20], [b, 20], [c, 11]),
      inputOf([a, 20], [b, 20], [c, 10]),
      inputOf([a, 21], [b, 20], [c, 20]),
      { ...inputOf([a, 21], [b, 20], [c, 20]), endpoints: undefined },
      inputOf([b, 20], [c, 20]),
    ];
    const results = inputs.map((input) => found(budget(input)));
    expect(results).toEqual([{ [c.key]: shared(11) }, {}, { [a.key]: own(21) }, { [a.key]: own(21) }, {}]);
    const over = inputOf([a, 30]);
    expect(budget(over)).toBe(budget({ ...over }));
  });
});

describe('the Pods that a port without a NodePort has', () => {
  const pods = Array.from({ length: 300 }, (_, index): PodServer => ({
    address: ip(`10.244.${index >> 7}.${index & 127}`),
    port: 8080,
    node: undefined,
    isDraining: false,
  }));
  const spec = { ports: [bare(80), bare(81), tcp(443)], ipFamilies: [4 as const] };
  const excess: ServerExcess = { wanted: 600, most: 100, limit: 'host' };
  const chosen = (of: readonly PodServer[]): readonly string[] =>
    withinExcess(of, spec, excess).map(({ address }) => address.text);

  test('are an equal part, the others have a NodePort', () => {
    expect(chosen(pods)).toHaveLength(50);
    expect(withinExcess(pods, { ...spec, ipFamilies: [4, 6] }, excess)).toHaveLength(25);
    expect(withinExcess(pods, spec, { ...excess, most: 1 })).toHaveLength(1);
    expect(withinExcess(pods, spec, undefined)).toBe(pods);
    expect(spec.ports.map((port) => needsFewerServers(excess, port))).toEqual([false, false, true]);
    expect(needsFewerServers(undefined, tcp(443))).toBe(false);
  });

  test('are the same in any order, and change by one when a Pod joins or leaves', () => {
    const before = chosen(pods);
    expect(chosen(pods.toReversed()).toSorted()).toEqual(before.toSorted());
    for (const pod of pods) {
      const after = new Set(chosen(pods.filter((each) => each !== pod)));
      expect(before.filter((text) => !after.has(text))).toEqual(
        before.includes(pod.address.text) ? [pod.address.text] : [],
      );
    }
  });

  test('are none of those that drain', () => {
    const draining = pods.map((pod, index) => ({ ...pod, isDraining: index > 60 }));
    const addresses = new Set(draining.slice(61).map(({ address }) => address.text));
    expect(chosen(draining).filter((text) => addresses.has(text))).toEqual([]);
    expect(chosen(draining)).toHaveLength(50);
  });
});

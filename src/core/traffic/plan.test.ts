import { expect, test } from 'vitest';
import { assignedAddress, byKey, ip, makeNode, makeService, ranges, tcp, udp } from '../../../test/make/service.ts';
import { listener } from '../../../test/make/table.ts';
import type { Assignment } from '../addresses/assignment.ts';
import { conditionTypes } from '../model/contract.ts';
import type { NodeName, ServiceKey } from '../model/names.ts';
import type { Condition, Service } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { makeTrafficPlanner, type TrafficInput } from './plan.ts';
import { emptyReport } from './report.ts';
import { listenerKey, type Listeners, type TrafficTable } from './table.ts';

const assigned: Assignment = {
  addresses: [assignedAddress('192.0.2.8', [tcp(80)])],
  verdict: { reason: 'Assigned', message: '' },
  refused: [],
  disowned: [],
  keepsStatus: false,
  waitsForHost: false,
};
const nodes: TrafficInput['nodes'] = new Map(
  ['n1', 'n2'].map((name, index) => [name as NodeName, makeNode(name, `192.0.2.1${index + 1}`)]),
);

function inputOf(services: readonly Service[], more: Partial<TrafficInput> = {}): TrafficInput {
  return {
    services: byKey(services),
    assignments: PersistentMap.from(
      services.map((service, index): [ServiceKey, Assignment] => [
        service.key,
        { ...assigned, addresses: [assignedAddress(`192.0.2.${100 + index}`, [tcp(80)])] },
      ]),
    ),
    overBudget: new Set(),
    overProfiles: new Map(),
    overServers: new Map(),
    onLink: emptyReport.onLink,
    nodes,
    drained: new Set(),
    drainedServices: new Set(),
    endpoints: undefined,
    podPlace: { routed: [], reserved: new Map(), pool: [], zone: undefined, drained: new Set() },
    ...more,
  };
}

const rangesOf = (table: TrafficTable): Record<string, number | undefined> =>
  Object.fromEntries(
    Array.from(table.listeners.values(), ({ service, sourceRanges }) => [service, sourceRanges?.length]),
  );

const a = makeService('a', { sourceRanges: ['10.0.0.0/8'] });
const b = makeService('b', { sourceRanges: ['10.0.0.0/8'] });

test('a Service whose source ranges exceed the budget is closed, and open to its ranges when there is room again', () => {
  const plan = makeTrafficPlanner();
  const input = inputOf([a, b]);
  const first = plan(input);
  expect(rangesOf(first)).toEqual({ 'default/a': 1, 'default/b': 1 });
  const closed = plan({ ...input, overBudget: new Set([b.key]) });
  expect(rangesOf(closed)).toEqual({ 'default/a': 1, 'default/b': 0 });
  const key = listenerKey(ip('192.0.2.100'), 80, 'TCP');
  expect(closed.listeners.get(key)).toBe(first.listeners.get(key));
  expect(rangesOf(plan({ ...input, overBudget: new Set([a.key]) }))).toEqual({ 'default/a': 0, 'default/b': 1 });
  expect(rangesOf(plan(input))).toEqual({ 'default/a': 1, 'default/b': 1 });
});

test('other source ranges change the listeners of a Service that keeps its assignment, and no others', () => {
  const plan = makeTrafficPlanner();
  const input = inputOf([a, b]);
  const first = plan(input);
  const changed = { ...a, spec: { ...a.spec, sourceRanges: ['10.0.0.0/8', '192.0.2.0/24'] } };
  const second = plan({ ...input, services: byKey([changed, b]) });
  expect(rangesOf(second)).toEqual({ 'default/a': 2, 'default/b': 1 });
  const key = listenerKey(ip('192.0.2.101'), 80, 'TCP');
  expect(second.listeners.get(key)).toBe(first.listeners.get(key));
});

test('a listener that one Service leaves to another belongs to the other, in whichever order they are planned', () => {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    const plan = makeTrafficPlanner();
    const services = byKey([a, b]);
    const assign = (key: ServiceKey): TrafficInput =>
      inputOf([a, b], { services, assignments: PersistentMap.from([[key, assigned]]) });
    expect(rangesOf(plan(assign(from.key)))).toEqual({ [from.key]: 1 });
    expect(rangesOf(plan(assign(to.key)))).toEqual({ [to.key]: 1 });
    expect(rangesOf(plan({ ...assign(to.key), services: byKey([from]) }))).toEqual({});
  }
});

test('a listener of direct is published once the status shows its address with ipMode VIP, and is a new one then', () => {
  const plan = makeTrafficPlanner();
  const addresses = ['192.0.2.8', '2001:db8::8'].map((text) => assignedAddress(text, [udp(53)]));
  const listenersWith = (shown: readonly (readonly [ip: string, ipMode: string])[]): Listeners => {
    const ingress = shown.map(([text, ipMode]) => ({ ip: text, hostname: undefined, ipMode, ports: [] }));
    const service = { ...direct, status: { ...direct.status, ingress } };
    return plan(inputOf([service], { assignments })).listeners;
  };
  const direct = makeService('a', { ports: [udp(53)], dataplane: 'direct' });
  const assignments = PersistentMap.from([[direct.key, { ...assigned, addresses }]]);
  const [four, six] = addresses.map(({ ip: address }) => listenerKey(address, 53, 'UDP'));
  if (four === undefined || six === undefined) throw new Error('there are two');
  const before = listenersWith([]);
  expect(before.get(four)).toMatchObject({
    dataplane: 'direct',
    isPublished: false,
    standIn: 'nat',
    targetPort: 30_053,
  });
  expect(listenersWith([['192.0.2.8', 'Proxy']])).toBe(before);
  const after = listenersWith([['192.0.2.8', 'VIP']]);
  expect(after.get(four)?.isPublished).toBe(true);
  expect(after.get(four)?.revision).not.toBe(before.get(four)?.revision);
  expect(after.get(six)).toEqual(before.get(six));
  expect(listenersWith([['192.0.2.8', 'VIP']])).toBe(after);
  expect([...listenersWith([])]).toEqual([...before]);
});

test('the status of a Service that HAProxy serves does not concern its listeners', () => {
  const plan = makeTrafficPlanner();
  const service = makeService('a');
  const input = inputOf([service]);
  const before = plan(input);
  const ingress = [{ ip: '192.0.2.100', hostname: undefined, ipMode: 'VIP', ports: [] }];
  const shown = { ...service, status: { ...service.status, ingress } };
  expect(plan({ ...input, services: byKey([shown]) }).listeners).toBe(before.listeners);
});

test('another dataplane is another revision', () => {
  const table = (dataplane: string | undefined): TrafficTable =>
    makeTrafficPlanner()(inputOf([makeService('a', { dataplane })]));
  const revisions = [undefined, 'haproxy', 'Direct', 'direct'].map(
    (dataplane) => [...table(dataplane).listeners.values()][0]?.revision,
  );
  expect(revisions[1]).toBe(revisions[0]);
  expect(revisions[2]).toBe(revisions[0]);
  expect(revisions[3]).not.toBe(revisions[0]);
  const [haproxy, direct] = (['haproxy', 'direct'] as const).map((name) =>
    listener('192.0.2.1', 80, 1, { dataplane: name }),
  );
  expect(haproxy?.revision).not.toBe(direct?.revision);
});

test('a Service has listeners as soon as the finalizer is in place', () => {
  const plan = makeTrafficPlanner();
  expect(plan(inputOf([makeService('a', {}, { finalizers: [] })])).listeners.size).toBe(0);
  expect(plan(inputOf([makeService('a')])).listeners.size).toBe(1);
});

test('a Service that has our condition keeps its listeners when another client removes the finalizer', () => {
  const plan = makeTrafficPlanner();
  const condition: Condition = {
    type: conditionTypes.addressAssigned,
    status: 'True',
    reason: 'Assigned',
    message: '',
    lastTransitionTime: '',
  };
  const status = { conditions: [condition] };
  const before = plan(inputOf([makeService('a', {}, { status })])).listeners;
  const without = (conditions: readonly Condition[]): TrafficInput =>
    inputOf([makeService('a', {}, { finalizers: [], status: { conditions } })]);
  expect([...plan(without([condition])).listeners]).toEqual([...before]);
  expect(plan(without([{ ...condition, status: 'False' }])).listeners.size).toBe(0);
});

test('the same input gives the same table, and another node leaves the listeners as they are', () => {
  const plan = makeTrafficPlanner();
  const input = inputOf([a, b]);
  const first = plan(input);
  expect(plan(input)).toBe(first);
  expect(plan({ ...input, nodes: new Map(nodes) })).toBe(first);
  const drained = plan({ ...input, drained: new Set(['n1' as NodeName]) });
  expect(drained.listeners).toBe(first.listeners);
  expect([...drained.nodes.values()].map(({ state }) => state)).toEqual(['drain', 'active']);
});

test('a drained Service refuses new connections, and leaves direct where something else can serve its port', () => {
  const plan = makeTrafficPlanner();
  const direct = makeService('c', { dataplane: 'direct' });
  const nat = makeService('d', { dataplane: 'nat' });
  const services = [a, b, direct, nat];
  const assignments = PersistentMap.from(
    services.map(({ key }, index) => {
      const served = key === direct.key ? [tcp(80), udp(53), tcp(81, 0)] : [tcp(80)];
      return [key, { ...assigned, addresses: [assignedAddress(`192.0.2.${100 + index}`, served)] }] as const;
    }),
  );
  const input = inputOf(services, { assignments });
  const first = plan(input);
  const table = plan({ ...input, drainedServices: new Set([a.key, direct.key, nat.key]) });
  const seen = Array.from(table.listeners.values(), (each) => [
    `${each.service} ${each.port}`,
    [each.dataplane, each.isDraining],
  ]);
  expect(Object.fromEntries(seen)).toEqual({
    'default/a 80': ['haproxy', true],
    'default/b 80': ['haproxy', false],
    'default/c 80': ['haproxy', true],
    'default/c 53': ['nat', true],
    'default/c 81': ['direct', true],
    'default/d 80': ['nat', true],
  });
  const key = listenerKey(ip('192.0.2.100'), 80, 'TCP');
  expect(table.listeners.get(key)?.revision).not.toBe(first.listeners.get(key)?.revision);
  const other = listenerKey(ip('192.0.2.101'), 80, 'TCP');
  expect(table.listeners.get(other)).toBe(first.listeners.get(other));
  expect([...plan(input).listeners]).toEqual([...first.listeners]);
});

test('a listener has the source ranges of its family, merged, and is closed where the Service has none of it', () => {
  const service = makeService('a', { ipFamilies: [4, 6], sourceRanges: ['198.51.100.0/25', '198.51.100.128/25'] });
  const addresses = ['192.0.2.8', '2001:db8::8'].map((text) => assignedAddress(text, [tcp(80)]));
  const assignments = PersistentMap.from([[service.key, { ...assigned, addresses }]]);
  const { listeners } = makeTrafficPlanner()(inputOf([service], { assignments }));
  const byFamily = [...listeners.values()].toSorted((x, y) => x.address.family - y.address.family);
  expect(byFamily.map(({ sourceRanges }) => sourceRanges)).toEqual([ranges('198.51.100.0/24'), []]);
});

test('a Local Service moves to direct once the host is known to reach nodes, and stays there whatever happens to them', () => {
  const plan = makeTrafficPlanner();
  const local = makeService('a', { externalTrafficPolicy: 'Local' });
  const listenerOf = (service: Service, onLink: TrafficInput['onLink'], more: Partial<TrafficInput> = {}): unknown => {
    const [one] = plan(inputOf([service], { onLink, ...more })).listeners.values();
    return [one?.dataplane, one?.standIn, one?.needsProof, one?.isPublished];
  };
  const unknown: TrafficInput['onLink'] = new Set();
  const four: TrafficInput['onLink'] = new Set([4]);
  const [haproxy, moving, direct] = [
    ['haproxy', undefined, false, false],
    ['direct', 'haproxy', true, false],
    ['direct', 'haproxy', true, true],
  ];
  expect(listenerOf(local, unknown)).toEqual(haproxy);
  expect(listenerOf(local, new Set([6]))).toEqual(haproxy);
  expect(listenerOf(local, four, { drainedServices: new Set([local.key]) })).toEqual(haproxy);
  expect(listenerOf(local, four)).toEqual(moving);
  const ingress = [{ ip: '192.0.2.100', hostname: undefined, ipMode: 'VIP', ports: [] }];
  const shown = { ...local, status: { ...local.status, ingress, ingressManager: 'furiwake' } };
  expect(listenerOf(shown, four)).toEqual(direct);
  expect(listenerOf(shown, unknown)).toEqual(direct);
  expect(listenerOf({ ...shown, spec: { ...local.spec, externalTrafficPolicy: 'Cluster' } }, unknown)).toEqual(direct);
  expect(listenerOf({ ...shown, spec: { ...local.spec, dataplane: 'haproxy' } }, four)).toEqual(haproxy);
  // Kubernetes completes what another load balancer wrote.
  const adopted = { ...makeService('a'), status: { ...shown.status, ingressManager: 'speaker' } };
  expect(listenerOf(adopted, four)).toEqual(haproxy);
});

test('only Services that need direct are planned again when the host reaches nodes of another family', () => {
  const plan = makeTrafficPlanner();
  const input = inputOf([makeService('a', { externalTrafficPolicy: 'Local' }), makeService('b')]);
  const before = plan({ ...input, onLink: new Set() }).listeners;
  const same = plan({ ...input, onLink: new Set() }).listeners;
  expect(same).toBe(before);
  const after = plan({ ...input, onLink: new Set([4]) }).listeners;
  const movedTo = Array.from(after, ([key, now]) => (before.get(key) === now ? 'same' : now.dataplane));
  expect(movedTo.sort()).toEqual(['direct', 'same']);
});

test('a Service whose profile is one too many has its other options', () => {
  const plan = makeTrafficPlanner();
  const one = makeService('a', {
    options: [
      ['furiwake.dev/idle-timeout', '9s'],
      ['furiwake.dev/connection-rate', '5'],
    ],
  });
  const optionsOf = (input: TrafficInput): unknown => [...plan(input).listeners.values()].map(({ options }) => options);
  const input = inputOf([one]);
  const limits = { rate: 5 };
  expect(optionsOf(input)).toMatchObject([{ limits, profile: { idleTimeoutMs: 9000 } }]);
  const over = { ...input, overProfiles: new Map([[one.key, 'idle-timeout=8000ms']]) };
  expect(optionsOf(over)).toMatchObject([{ limits, profile: { idleTimeoutMs: 0 } }]);
  expect(optionsOf(input)).toMatchObject([{ limits, profile: { idleTimeoutMs: 9000 } }]);
});

test.each([
  ['haproxy', 'ClientIP', false],
  ['nat', 'ClientIP', true],
  ['direct', 'ClientIP', true],
  ['nat', 'None', false],
])(
  'with %s and sessionAffinity %s, all flows of a client go to one node: %s',
  (dataplane, sessionAffinity, isAffine) => {
    const { listeners } = makeTrafficPlanner()(inputOf([makeService('a', { dataplane, sessionAffinity })]));
    const affinitySeconds = isAffine ? 10_800 : 0;
    expect([...listeners.values()]).toMatchObject([{ dataplane, isAffine, affinitySeconds }]);
  },
);

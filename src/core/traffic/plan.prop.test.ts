import { asksForHaproxy } from './port-options.ts';
import { lacksNodePorts, needsDirect, requestedDataplane } from './dataplane.ts';
import fc from 'fast-check';
import { emptyReport } from './report.ts';
import { expect, test } from 'vitest';
import { anyHistory, crowdedHistory, inputOf } from '../../../test/make/address-world.ts';
import { nodeName } from '../../../test/make/table.ts';
import { type AddressInput, type AddressPlan, makeAddressPlanner } from '../addresses/plan.ts';
import type { Ip } from '../ip/ip.ts';
import { formatRange } from '../ip/range.ts';
import type { ServiceKey } from '../model/names.ts';
import type { Service, ServicePort } from '../model/service.ts';
import type { Node } from '../model/node.ts';
import { PersistentMap } from '../persistent-map.ts';
import { makeTrafficPlanner, type TrafficInput } from './plan.ts';
import { type NodeEndpoints, endpointsOnNodes, type ServiceEndpoints, sumOfEndpoints } from './local.ts';
import { addressOfNode, type Listener, listenerKey, nodesBackend, type TrafficTable } from './table.ts';

const someEndpoints: fc.Arbitrary<readonly NodeEndpoints[]> = fc
  .array(
    fc.record({
      node: fc.constantFrom('n1', 'n2', 'gone').map(nodeName),
      ready: fc.nat(2),
      terminating: fc.nat(1),
    }),
  )
  .map(sumOfEndpoints);

const anyTurn = fc.record({
  drained: fc.subarray(['n1', 'n2', 'n3', 'gone']).map((names) => new Set(names.map(nodeName))),
  isServiceDrained: fc.boolean(),
  isOverBudget: fc.boolean(),
  isOverProfiles: fc.boolean(),
  isOverServers: fc.boolean(),
  /** By the index of the Service. */
  endpoints: fc.option(fc.array(fc.option(someEndpoints)), { nil: undefined }),
});

/** EndpointSlices of both families without ports, and these nodes. */
function groupsOn(nodes: readonly NodeEndpoints[]): ServiceEndpoints {
  return ([4, 6] as const).map((family) => ({ family, nodes, ports: [], endpoints: [] }));
}

const podPlace = {
  routed: [],
  reserved: new Map<string, string>(),
  pool: [],
  zone: undefined,
  drained: new Set<never>(),
};
const none: TrafficInput['overBudget'] = new Set();
const noProfiles: TrafficInput['overProfiles'] = new Map();
const noServers: TrafficInput['overServers'] = new Map();

type TableStep = {
  readonly addresses: AddressInput;
  readonly plan: AddressPlan;
  readonly input: TrafficInput;
  readonly table: TrafficTable;
};

/** Calls `check` with the tables of a history: addresses, nodes, drains, host and budget change together. */
function eachTable(check: (step: TableStep, before: TableStep | undefined) => void): void {
  const anyTurns = fc.array(anyTurn, { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.oneof(anyHistory, crowdedHistory), anyTurns, fc.nat(7), ({ worlds, records }, turns, excess) => {
      const [planAddresses, planTraffic] = [makeAddressPlanner(), makeTrafficPlanner()];
      let recorded = PersistentMap.from(records.map((record) => [record.uid, record]));
      let before: TableStep | undefined;
      for (const world of worlds) {
        const addresses = inputOf(world, recorded);
        const plan = planAddresses(addresses);
        const nodes = new Map(world.nodes.map((node) => [node.name, node]));
        const exceeding = new Set(world.services.map(({ key }) => key).slice(excess, excess + 1));
        const demanding = new Map(
          Array.from(exceeding, (key) => [key, { wanted: 5_000, most: 1, limit: 'host' }] as const),
        );
        const excessive = new Map(Array.from(exceeding, (key) => [key, 'idle-timeout=1000ms']));
        for (const { drained, isServiceDrained, isOverBudget, isOverProfiles, isOverServers, endpoints } of turns) {
          const input: TrafficInput = {
            services: addresses.services,
            assignments: plan.assignments,
            overBudget: isOverBudget ? exceeding : none,
            overProfiles: isOverProfiles ? excessive : noProfiles,
            overServers: isOverServers ? demanding : noServers,
            onLink: emptyReport.onLink,
            nodes,
            drained,
            drainedServices: isServiceDrained ? exceeding : none,
            podPlace,
            endpoints:
              endpoints &&
              PersistentMap.from(
                world.services.flatMap(({ key }, index): readonly [ServiceKey, ServiceEndpoints][] => {
                  const nodesOf = endpoints[index];
                  return nodesOf === undefined || nodesOf === null ? [] : [[key, groupsOn(nodesOf)]];
                }),
              ),
          };
          const step = { addresses, plan, input, table: planTraffic(input) };
          check(step, before);
          before = step;
        }
        recorded = plan.records;
      }
    }),
    { numRuns: 300 },
  );
}

function expectedWay(
  { spec, status }: Service,
  { text }: Ip,
  { protocol, nodePort }: ServicePort,
  { isHostAddress, isDrained }: { readonly isHostAddress: boolean; readonly isDrained: boolean },
): Pick<Listener, 'dataplane' | 'isPublished' | 'targetPort'> {
  // A port that something else can serve leaves direct while the Service is drained.
  const isRequested = spec.dataplane === 'direct' && (!isDrained || nodePort === 0);
  const isPublished =
    (spec.dataplane === 'direct' || status.ingressManager === 'furiwake') &&
    status.ingress.some(({ ip, ipMode }) => ip === text && ipMode === 'VIP');
  // What furiwake has published for direct stays there, except on the host's own address and while the Service is drained. A port
  // without a nodePort is published for direct, which says nothing of the others.
  const mayStay = !isHostAddress && !isDrained && !asksForHaproxy(spec) && requestedDataplane(spec) === undefined;
  const stays = mayStay && isPublished && (needsDirect(spec) || !lacksNodePorts(spec));
  // Without a nodePort no other dataplane serves a port.
  if (!isRequested && nodePort !== 0 && !stays)
    return { dataplane: protocol === 'TCP' ? 'haproxy' : 'nat', isPublished: false, targetPort: nodePort };
  return { dataplane: 'direct', isPublished, targetPort: nodePort };
}

test('a table has a listener for each port that a Service is served on and may be cleaned up after, and no other', () => {
  eachTable(({ plan, input, table }) => {
    const expected = [...input.services.values()].flatMap((service) =>
      service.finalizers.length === 0
        ? []
        : (plan.assignments.get(service.key)?.addresses ?? []).flatMap(({ ip, isHostAddress, served }) =>
            served.map((port) => ({
              key: listenerKey(ip, port.port, port.protocol),
              service: service.key,
              ...expectedWay(service, ip, port, {
                isHostAddress,
                isDrained: input.drainedServices.has(service.key),
              }),
              backend:
                service.spec.externalTrafficPolicy === 'Local'
                  ? `local${ip.family}:${service.key}`
                  : `nodes${ip.family}`,
            })),
          ),
    );
    const found = Array.from(
      table.listeners.values(),
      ({ key, service, dataplane, isPublished, targetPort, backend }) => ({
        key,
        service,
        dataplane,
        isPublished,
        targetPort,
        backend,
      }),
    );
    const byKey = (a: { key: string }, b: { key: string }): number => (a.key < b.key ? -1 : 1);
    expect(found.toSorted(byKey)).toEqual(expected.toSorted(byKey));
  });
});

test('no listener is on an address or port that the host needs', () => {
  eachTable(({ addresses: { host, site, pool, records }, input, table }) => {
    for (const { key, address, protocol, port, service } of table.listeners.values()) {
      expect(pool.excluded.has(address.text)).toBe(false);
      if (!host.ownAddresses.some(({ text }) => text === address.text)) continue;
      expect(site.reservedPorts.has(port)).toBe(false);
      const isInTheWay = (socket: (typeof host.listening)[number]): boolean =>
        socket.protocol === protocol && socket.port === port && socket.address?.text === address.text;
      if (!host.listening.some(isInTheWay)) continue;
      expect(records.get(input.services.get(service)!.uid)?.listeners).toContain(key);
    }
  });
});

test('drained and excluded nodes change nodes and backends only: no listener comes, goes or changes its revision', () => {
  eachTable((step, before) => {
    const { addresses, input, table } = step;
    for (const [name, { state, addresses: ips }] of table.nodes) {
      const node = input.nodes.get(name);
      expect(node?.excluded).toBeUndefined();
      expect(state).toBe(input.drained.has(name) ? 'drain' : 'active');
      expect(node?.addresses).toEqual(expect.arrayContaining([...ips]));
    }
    // An address is that of one node.
    const textsOf = (nodes: Iterable<Pick<Node, 'addresses'>>): readonly string[] =>
      [...nodes].flatMap(({ addresses: ips }) => ips.map(({ text }) => text));
    const used = textsOf(table.nodes.values());
    expect(used).toHaveLength(new Set(used).size);
    const { true: excluded = [], false: usable = [] } = Object.groupBy(
      input.nodes.values(),
      ({ excluded: why }) => `${why !== undefined}`,
    );
    const notUsed = textsOf(usable).filter((text) => !used.includes(text));
    expect(textsOf(excluded)).toEqual(expect.arrayContaining(notUsed));
    for (const family of [4, 6] as const)
      expect(table.backends.get(nodesBackend(family))?.servers.map(({ node }) => node)).toEqual(
        [...table.nodes.values()].filter((node) => addressOfNode(node, family) !== undefined).map(({ name }) => name),
      );
    if (before?.addresses !== addresses || before.input.overBudget !== input.overBudget) return;
    if (before.input.overProfiles !== input.overProfiles) return;
    if (before.input.overServers !== input.overServers) return;
    if (before.input.drainedServices !== input.drainedServices) return;
    expect(table.listeners).toBe(before.table.listeners);
  });
});

test('once the endpoints are known, each Service with Local that is served has its nodes with endpoints, and no other has', () => {
  eachTable(({ input, table }) => {
    const expected = new Map<string, readonly string[]>();
    for (const { service, address, backend } of input.endpoints === undefined ? [] : table.listeners.values()) {
      if (input.services.get(service)?.spec.externalTrafficPolicy !== 'Local') continue;
      const endpoints = endpointsOnNodes(input.endpoints?.get(service) ?? [], address.family);
      const hasAddress = (name: NodeEndpoints['node']): boolean => {
        const node = table.nodes.get(name);
        return node !== undefined && addressOfNode(node, address.family) !== undefined;
      };
      const found = endpoints.filter(({ node, ready, terminating }) => ready + terminating > 0 && hasAddress(node));
      expected.set(
        backend,
        found.map(({ node, ready }) => `${node}${ready > 0 ? '' : ' terminating'}`),
      );
    }
    const local = Array.from(table.backends).filter(([id]) => id !== nodesBackend(4) && id !== nodesBackend(6));
    const words = local.map(([id, { servers }]): [string, readonly string[]] => [
      id,
      servers.map(({ node, isDraining }) => `${node}${isDraining ? ' terminating' : ''}`),
    ]);
    expect(new Map(words)).toEqual(expected);
  });
});

test('a Service over the budget, or without a valid range of the family, is closed', () => {
  eachTable(({ input, table }) => {
    for (const { service, address, sourceRanges } of table.listeners.values()) {
      const texts = input.services.get(service)!.spec.sourceRanges;
      const isClosed = texts.includes('nonsense') || (texts.length > 0 && address.family === 6);
      const open = texts.length === 0 ? undefined : ['10.0.0.0-10.255.255.255'];
      const expected = isClosed || input.overBudget.has(service) ? [] : open;
      expect(sourceRanges?.map(formatRange)).toEqual(expected);
    }
  });
});

test('a planner that remembers its last table makes the one that a new planner makes, with the same objects for the same parts', () => {
  eachTable(({ input, table }, before) => {
    const anew = makeTrafficPlanner()(input);
    expect([...table.listeners]).toEqual([...anew.listeners]);
    expect([...table.nodes]).toEqual([...anew.nodes]);
    expect([...table.backends]).toEqual([...anew.backends]);
    const same = [...table.listeners.values()].filter(
      ({ key, service, revision }) =>
        before?.table.listeners.get(key)?.revision === revision &&
        before.input.overBudget === input.overBudget &&
        before.input.overProfiles === input.overProfiles &&
        before.input.overServers === input.overServers &&
        before.input.drainedServices === input.drainedServices &&
        before.input.assignments.get(service) === input.assignments.get(service) &&
        before.input.services.get(service) === input.services.get(service),
    );
    for (const listener of same) expect(before?.table.listeners.get(listener.key)).toBe(listener);
    const copied = Array.from(table.backends).filter(([id, backend]) => {
      const old = before?.table.backends.get(id);
      return old !== backend && JSON.stringify(old) === JSON.stringify(backend);
    });
    expect(copied).toEqual([]);
  });
});

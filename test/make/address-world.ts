import fc from 'fast-check';
import type { AddressInput, AddressPlan } from '../../src/core/addresses/plan.ts';
import type { AddressRecord } from '../../src/core/addresses/assignment.ts';
import type { HostFacts } from '../../src/core/model/host.ts';
import { type ServiceKey, serviceKey, type ServiceUid } from '../../src/core/model/names.ts';
import type { Node } from '../../src/core/model/node.ts';
import type { Annotation, Service } from '../../src/core/model/service.ts';
import type { Site } from '../../src/core/model/site.ts';
import { listenerKey } from '../../src/core/traffic/table.ts';
import { byKey, ip, makeHostFacts, makeNode, makeService, makeSite, poolOf, tcp, udp } from './service.ts';

/** All that a plan of addresses depends on, as users, administrators, other controllers and time may leave it. */
export type World = {
  readonly services: readonly Service[];
  readonly nodes: readonly Node[];
  readonly host: HostFacts;
  readonly site: Site;
};

const inPool = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '2001:db8::1', '2001:db8::2'] as const;
const outside = ['198.51.100.9', '2001:db8:ffff::9'] as const;
const anyAddress = fc.constantFrom(...inPool, ...outside);
const anyPort = fc.constantFrom(22, 53, 80, 443);
const anyManager = fc.constantFrom('furiwake', 'kubectl', undefined);
const anyPorts = fc.uniqueArray(
  fc.oneof(
    { weight: 6, arbitrary: anyPort.map((port) => tcp(port)) },
    { weight: 2, arbitrary: anyPort.map((port) => udp(port)) },
    { weight: 1, arbitrary: anyPort.map((port) => ({ ...tcp(port), protocol: 'SCTP' as const })) },
    { weight: 1, arbitrary: anyPort.map((port) => tcp(port, 0)) },
    { weight: 1, arbitrary: anyPort.map((port) => udp(port, 0)) },
  ),
  { minLength: 1, maxLength: 3, selector: ({ port, protocol }) => `${port}/${protocol}` },
);
const anyRequest = fc.oneof(
  { weight: 4, arbitrary: fc.constant(undefined) },
  { weight: 4, arbitrary: anyAddress },
  { weight: 1, arbitrary: fc.constantFrom('nonsense', '0.0.0.0', '192.0.2.2,2001:db8::2') },
);

const namespaceOf = (index: number): string => (index % 2 === 0 ? 'default' : 'other');
const keyOf = (index: number): ServiceKey => serviceKey(namespaceOf(index), `s${index}`);

/** One of eight Services of two namespaces. */
export const anyService: fc.Arbitrary<Service> = fc
  .record({
    index: fc.nat(7),
    createdAtMs: fc.nat(3),
    finalizers: fc.constantFrom(['furiwake.dev/cleanup'], []),
    ports: anyPorts,
    ipFamilies: fc.constantFrom<readonly (4 | 6)[]>([4], [6], [4, 6], [6, 4]),
    requireDualStack: fc.boolean(),
    loadBalancerIp: anyRequest,
    annotated: anyRequest,
    poolAnnotations: fc.constantFrom<Service['spec']['poolAnnotations']>(
      [],
      [],
      [],
      [['furiwake.dev/pool', 'p1']],
      [['furiwake.dev/pool', 'x']],
    ),
    sharingKey: fc.constantFrom(undefined, 'k', 'other'),
    dataplane: fc.constantFrom(undefined, 'haproxy', 'direct', 'direct', 'Direct'),
    sourceRanges: fc.constantFrom([], ['10.0.0.0/8'], ['nonsense']),
    options: fc.constantFrom<readonly Annotation[]>([], [], [['furiwake.dev/idle-timeout', '1m']]),
    externalTrafficPolicy: fc.constantFrom('Cluster', 'Local'),
    shown: fc.array(fc.tuple(anyAddress, fc.constantFrom('Proxy', 'VIP')), { maxLength: 2 }),
    ingressManager: anyManager,
  })
  .map(({ index, createdAtMs, finalizers, shown, ingressManager, annotated, ...spec }) => {
    return makeService(
      `s${index}`,
      { ...spec, addressAnnotations: annotated === undefined ? [] : [['furiwake.dev/addresses', annotated]] },
      {
        key: keyOf(index),
        namespace: namespaceOf(index),
        createdAtMs,
        finalizers,
        status: { ingress: shown.map(([text, ipMode]) => ingressOf(text, ipMode)), ingressManager },
      },
    );
  });
export const anyServices: fc.Arbitrary<readonly Service[]> = fc.uniqueArray(anyService, {
  selector: ({ uid }) => uid,
  maxLength: 8,
});

/** Some with an address of the pool; some that take no new connections. */
export const anyNodes: fc.Arbitrary<readonly Node[]> = fc.uniqueArray(
  fc
    .record({
      name: fc.constantFrom('n1', 'n2', 'n3'),
      addresses: fc.uniqueArray(fc.constantFrom('203.0.113.1', '2001:db8:1::1', '192.0.2.3', '2001:db8::2'), {
        maxLength: 2,
      }),
      excluded: fc.constantFrom(undefined, undefined, 'deleted', 'label', 'taint'),
    })
    .map(({ name, addresses, excluded }): Node => ({ ...makeNode(name, ...addresses), excluded })),
  { selector: ({ name }) => name, maxLength: 3 },
);

/** Its own addresses may be in the pool; programs listen on some or on all of them. */
export const anyHost: fc.Arbitrary<HostFacts> = fc
  .record({
    own: fc.subarray(['192.0.2.1', '192.0.2.2', '2001:db8::1', '198.51.100.9'], { maxLength: 3 }),
    primaries: fc.nat(2),
    sockets: fc.array(
      fc.record({
        protocol: fc.constantFrom('TCP', 'UDP'),
        address: fc.option(anyAddress, { nil: undefined }),
        port: anyPort,
        isIp6: fc.boolean(),
      }),
      { maxLength: 2 },
    ),
    areSocketsOld: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
    needs: fc.subarray(['192.0.2.2', '2001:db8::1', '203.0.113.254'], { maxLength: 1 }),
  })
  .map(({ own, primaries, sockets, areSocketsOld, needs }) => {
    const ownAddresses = own.map(ip);
    const firstOf = (family: 4 | 6): HostFacts['ownAddresses'] =>
      ownAddresses.filter((each) => each.family === family).slice(0, 1);
    return {
      ownAddresses,
      primaryAddresses: [...firstOf(4), ...firstOf(6)].slice(0, primaries),
      listening: sockets.map(({ protocol, address, port, isIp6 }) => {
        const bound = address === undefined ? undefined : ip(address);
        return { protocol, address: bound, family: bound?.family ?? (isIp6 ? (6 as const) : (4 as const)), port };
      }),
      listeningTrouble: areSocketsOld ? 'ss does not answer' : undefined,
      needs: new Map(needs.map((text) => [text, 'default gateway'])),
    };
  });

/** Pools that narrow and grow from one site to the next, some with a range on request; or the host's own addresses. */
export const anySite: fc.Arbitrary<Site> = fc
  .record({
    addresses: fc.subarray(['192.0.2.1', '192.0.2.2-192.0.2.3', '2001:db8::1-2001:db8::2'], { minLength: 1 }),
    dataplane: fc.constant('auto' as const),
    handsOutOwn: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
    movesServices: fc.boolean(),
    onRequest: fc.nat(4),
    isNamed: fc.boolean(),
    reservedPorts: fc.subarray([22, 53]).map((ports) => new Set(ports)),
  })
  .map(({ addresses, onRequest, isNamed, ...rest }) => {
    const site = makeSite(addresses, rest);
    const ranges = site.ranges.map((range, index) => ({
      ...range,
      ...(index === onRequest && { isOnRequest: true as const }),
      ...(isNamed && !rest.handsOutOwn && { name: `p${index}` }),
    }));
    return { ...site, ranges };
  });

export const anyWorld: fc.Arbitrary<World> = fc.record({
  services: anyServices,
  nodes: anyNodes,
  host: anyHost,
  site: anySite,
});

/** A world that changes step by step, each time in some parts, and the records that it begins with. */
export type History = { readonly worlds: readonly World[]; readonly records: readonly AddressRecord[] };

const anyRecord: fc.Arbitrary<AddressRecord> = fc
  .record({
    index: fc.nat(7),
    texts: fc.uniqueArray(anyAddress, { maxLength: 2, selector: (text) => text.includes(':') }),
    ports: fc.uniqueArray(anyPort, { maxLength: 2 }),
    ofHost: fc.constantFrom(0, 0, 1, 2),
  })
  .map(({ index, texts, ports, ofHost }) => ({
    ...recordOf(`uid-s${index}` as ServiceUid, keyOf(index), texts.map(ip), ports),
    ...(ofHost > 0 && { hostAddresses: texts.map((text) => ip(text).text).slice(0, ofHost) }),
  }));

const anyStep = fc.record(
  {
    changed: fc.array(anyService, { maxLength: 3 }),
    removed: fc.nat(15),
    nodes: anyNodes,
    host: anyHost,
    site: anySite,
    listening: anyHost.map(({ listening }) => listening),
  },
  { requiredKeys: ['changed', 'removed'] },
);

/** The records agree with nothing: they are of another site, or of a damaged ledger. */
export const anyHistory: fc.Arbitrary<History> = fc
  .tuple(
    anyWorld,
    fc.array(anyStep, { maxLength: 4 }),
    fc.uniqueArray(anyRecord, { selector: ({ uid }) => uid, maxLength: 4 }),
  )
  .map(([first, steps, records]) => {
    const worlds = [first];
    for (const { changed, removed, listening, ...rest } of steps) {
      const before = worlds.at(-1) ?? first;
      const byUid = new Map([...before.services, ...changed].map((service) => [service.uid, service]));
      byUid.delete(`uid-s${removed}` as ServiceUid);
      const host = rest.host ?? (listening === undefined ? before.host : { ...before.host, listening });
      worlds.push({ ...before, ...rest, host, services: [...byUid.values()] });
    }
    return { worlds, records };
  });

const twoAddresses = makeSite(['192.0.2.1-192.0.2.2']);

/** Services of one namespace and family that crowd on two addresses, so that they want each other's ports. */
export const crowdedHistory: fc.Arbitrary<History> = anyHistory.map(({ worlds, records }) => ({
  worlds: worlds.map((world) => ({
    ...world,
    host: makeHostFacts(),
    nodes: [],
    site: twoAddresses,
    services: world.services.map(({ name, spec: { ports, dataplane, loadBalancerIp, sharingKey }, createdAtMs }) =>
      makeService(
        name,
        {
          ports: ports.filter(({ protocol }) => protocol === 'TCP').map(({ port }) => tcp(port)),
          dataplane,
          sharingKey,
          loadBalancerIp: loadBalancerIp?.startsWith('192.0.2.') === true ? loadBalancerIp : undefined,
        },
        { createdAtMs },
      ),
    ),
  })),
  records: records.map(({ uid, listeners }, index) => {
    const service = serviceKey('default', uid.slice('uid-'.length));
    return recordOf(uid, service, [ip('192.0.2.1')], listeners.length === 0 ? [] : [[22, 53, 80, 443][index] ?? 80]);
  }),
}));

function recordOf(
  uid: ServiceUid,
  service: ServiceKey,
  addresses: AddressRecord['addresses'],
  ports: readonly number[],
): AddressRecord {
  const listeners = addresses.flatMap((address) =>
    ports.flatMap((port) => [listenerKey(address, port, 'TCP'), listenerKey(address, port, 'UDP')]),
  );
  return { uid, service, addresses, listeners };
}

export function inputOf({ services, nodes, host, site }: World, records: AddressPlan['records']): AddressInput {
  return { services: byKey(services), records, site, host, pool: poolOf(site, host, nodes) };
}

function ingressOf(text: string, ipMode: 'Proxy' | 'VIP'): Service['status']['ingress'][number] {
  return { ip: text, hostname: undefined, ipMode, ports: [] };
}

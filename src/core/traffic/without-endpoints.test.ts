import { expect, test } from 'vitest';
import { byKey, ip, makeService, tcp, udp } from '../../../test/make/service.ts';
import { projectEndpointSlice } from '../../api/endpoint-slice.ts';
import type { Assignment } from '../addresses/assignment.ts';
import type { ListenerKey, ServiceKey } from '../model/names.ts';
import type { Service, ServicePort } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import type { ServiceEndpoints } from './local.ts';
import { isPlannedWith, listenersWithoutEndpoints, makeWithoutEndpoints } from './without-endpoints.ts';

const assigned = (ports: readonly ServicePort[], ...addresses: readonly string[]): Assignment => ({
  addresses: addresses.map((text) => ({ ip: ip(text), isHostAddress: false, served: ports, unserved: [] })),
  verdict: { reason: 'Assigned', message: '' },
  refused: [],
  disowned: [],
  keepsStatus: false,
  waitsForHost: false,
});

type SliceText = readonly [addressType: 'IPv4' | 'IPv6', ports: readonly string[], endpoints: readonly object[]];

/** A port is written `name/protocol`. */
const slicesOf = (...slices: readonly SliceText[]): ServiceEndpoints =>
  slices.map(([addressType, texts, endpoints]) => {
    const ports = texts.map((text) => ({ name: text.split('/')[0] ?? '', protocol: text.split('/')[1], port: 8080 }));
    return projectEndpointSlice({ metadata: {}, addressType, ports, endpoints });
  });
const pod = { addresses: ['10.244.0.1'] };
const ending = (serving: boolean): object => ({ ...pod, conditions: { ready: false, serving, terminating: true } });
const [http, admin] = ['192.0.2.1|80|TCP', '192.0.2.1|81|TCP'];

test.each<[string, ServiceEndpoints | undefined, readonly string[]]>([
  ['no EndpointSlice', undefined, [http, admin]],
  ['an empty one, as Kubernetes keeps for a Service without Pods', slicesOf(['IPv4', [], []]), [http, admin]],
  ['empty ones of both families', slicesOf(['IPv4', [], []], ['IPv6', [], []]), [http, admin]],
  ['one with an endpoint among empty ones', slicesOf(['IPv4', [], []], ['IPv4', ['p80/TCP', 'p81/TCP'], [pod]]), []],
  ['an endpoint that terminates and serves', slicesOf(['IPv4', ['p80/TCP', 'p81/TCP'], [ending(true)]]), []],
  ['only endpoints that serve no longer', slicesOf(['IPv4', ['p80/TCP', 'p81/TCP'], [ending(false)]]), [http, admin]],
  ['Pods without one of the named ports', slicesOf(['IPv4', ['p80/TCP'], [pod]]), [admin]],
  ['Pods without any of them', slicesOf(['IPv4', [], [pod]]), [http, admin]],
  [
    'a port for which only Pods that are not ready have the name',
    slicesOf(['IPv4', ['p80/TCP'], [pod]], ['IPv4', ['p80/TCP', 'p81/TCP'], []]),
    [admin],
  ],
  ['endpoints of the other family', slicesOf(['IPv6', ['p80/TCP', 'p81/TCP'], [pod]]), [http, admin]],
  ['EndpointSlices from before a port was renamed', slicesOf(['IPv4', ['p80/TCP', 'old/TCP'], [pod]]), []],
  ['EndpointSlices from before a port changed its protocol', slicesOf(['IPv4', ['p80/TCP', 'p81/UDP'], [pod]]), []],
])('of a Service with two ports and %s', (_, endpoints, expected) => {
  const ports = [tcp(80), tcp(81)];
  const service = makeService('web', { ports });
  const assignment = assigned(ports, '192.0.2.1');
  expect(listenersWithoutEndpoints(service, assignment, endpoints)).toEqual(expected);
  const known = PersistentMap.from<ServiceKey, ServiceEndpoints>(endpoints ? [[service.key, endpoints]] : []);
  const assignments = PersistentMap.from([[service.key, assignment] as const]);
  const withoutEndpoints = makeWithoutEndpoints()({ services: byKey([service]), assignments, endpoints: known });
  expect(Object.fromEntries(withoutEndpoints ?? [])).toEqual(
    Object.fromEntries(expected.map((key) => [key, service.uid])),
  );
  expect(isPlannedWith({ withoutEndpoints }, service, assignment, endpoints)).toBe(true);
  expect(isPlannedWith({ withoutEndpoints: undefined }, service, assignment, endpoints)).toBe(expected.length === 0);
});

test('one protocol of a port may be without endpoints, and one family', () => {
  const ports = [tcp(53), udp(53)];
  const assignment = assigned(ports, '192.0.2.1', '2001:db8::1');
  const endpoints = slicesOf(['IPv4', ['p53/TCP', 'p53/UDP'], [pod]], ['IPv6', ['p53/UDP'], [pod]]);
  expect(listenersWithoutEndpoints(makeService('dns', { ports }), assignment, endpoints)).toEqual([
    '2001:db8::1|53|TCP',
  ]);
});

test('listeners without endpoints follow Services, addresses and endpoints; nothing is known until all endpoints are', () => {
  const plan = makeWithoutEndpoints();
  const some = slicesOf(['IPv4', ['p80/TCP'], [pod]]);
  const [one, other] = [makeService('web'), makeService('mail')];
  const look = (
    services: Readonly<Record<string, Service>>,
    endpoints: readonly (readonly [Service, ServiceEndpoints])[] | undefined,
  ): Readonly<Record<string, string>> | undefined => {
    const found = plan({
      services: byKey(Object.values(services)),
      assignments: PersistentMap.from(
        Object.entries(services).map(([address, { key }]) => [key, assigned([tcp(80)], address)]),
      ),
      endpoints: endpoints && PersistentMap.from(endpoints.map(([{ key }, each]) => [key, each])),
    });
    return found && Object.fromEntries(found);
  };
  const [x, y] = ['192.0.2.1', '192.0.2.2'];
  expect(look({ [x]: one, [y]: other }, undefined)).toBeUndefined();
  expect(look({ [x]: one, [y]: other }, [])).toEqual({ [`${x}|80|TCP`]: one.uid, [`${y}|80|TCP`]: other.uid });
  expect(look({ [x]: one, [y]: other }, [[one, some]])).toEqual({ [`${y}|80|TCP`]: other.uid });
  // Both change their addresses at once.
  expect(look({ [x]: other, [y]: one }, [])).toEqual({ [`${x}|80|TCP`]: other.uid, [`${y}|80|TCP`]: one.uid });
  expect(look({ [x]: other }, [])).toEqual({ [`${x}|80|TCP`]: other.uid });
  expect(look({ [x]: one }, [[one, some]])).toEqual({});
});

test('a Service has no such listeners before its finalizer: its first endpoints change no table', () => {
  const plan = makeWithoutEndpoints();
  const [early, ready] = [makeService('web', {}, { finalizers: [] }), makeService('web')];
  const assignment = assigned([tcp(80)], '192.0.2.1');
  const look = (service: Service): ReturnType<typeof plan> =>
    plan({
      services: byKey([service]),
      assignments: PersistentMap.from([[service.key, assignment]]),
      endpoints: PersistentMap.empty(),
    });
  const withoutEndpoints = look(early);
  expect(withoutEndpoints?.size).toBe(0);
  expect(isPlannedWith({ withoutEndpoints }, early, assignment, undefined)).toBe(true);
  expect(isPlannedWith({ withoutEndpoints }, ready, assignment, undefined)).toBe(false);
  expect(look(ready)?.get(http as ListenerKey)).toBe(ready.uid);
});

test('while nothing changes, the map is the same object', () => {
  const plan = makeWithoutEndpoints();
  const service = makeService('web');
  const at = (address: string): NonNullable<ReturnType<typeof plan>> | undefined =>
    plan({
      services: byKey([service]),
      assignments: PersistentMap.from([[service.key, assigned([tcp(80)], address)]]),
      endpoints: PersistentMap.empty(),
    });
  expect(at('192.0.2.1')).toBe(at('192.0.2.1'));
  expect(at('192.0.2.1')).not.toBe(at('192.0.2.2'));
});

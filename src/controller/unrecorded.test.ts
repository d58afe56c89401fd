import { expect, test } from 'vitest';
import { byKey, makeHostFacts, makeService, makeSite, tcp } from '../../test/make/service.ts';
import type { ServiceUid } from '../core/model/names.ts';
import type { Service } from '../core/model/service.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { type AddressDecision, makePlanner } from './planner.ts';
import { withUnrecorded } from './unrecorded.ts';

const site = makeSite(['192.0.2.8-192.0.2.9']);

/** The decision about this Service alone, on an empty ledger. */
function decisionFor(service: Service): AddressDecision {
  return makePlanner()({
    site,
    services: byKey([service]),
    nodes: PersistentMap.empty(),
    records: PersistentMap.empty(),
    host: makeHostFacts(),
  });
}

/** Addresses with the ports that are served there, `PORT>NODEPORT`, and those that are not with the reason. */
function shownOf(now: Service, before?: Service): readonly string[] {
  const assignments = withUnrecorded(
    decisionFor(now),
    before && decisionFor(before),
    new Map([[now.uid, 'no space left on device']]),
  );
  const { addresses = [], verdict } = assignments.get(now.key) ?? {};
  return [
    verdict?.reason ?? '',
    ...addresses.flatMap(({ ip, served, unserved }) => [
      ip.text,
      ...served.map(({ port, nodePort }) => `${port}>${nodePort}`),
      ...unserved.map(({ port, reason }) => `${port.port} ${reason}`),
    ]),
  ];
}

const a = makeService('a', { ports: [tcp(80, 30_001)] });

test('a new Service has no address and says why', () => {
  expect(shownOf(a)).toEqual(['NotRecorded']);
});

test('a Service keeps the address that its status shows', () => {
  const ports = [{ port: 80, protocol: 'TCP' }];
  const ingress = [{ ip: '192.0.2.8', hostname: undefined, ipMode: 'Proxy', ports }];
  expect(shownOf(makeService('a', { ports: [tcp(80, 30_001)] }, { status: { ingress } }))).toEqual([
    'Assigned',
    '192.0.2.8',
    '80>30001',
  ]);
});

test('a Service that requests another address keeps its address and serves its present nodePort there; a new port waits', () => {
  const loadBalancerIp = '192.0.2.9';
  const now = { ...a, spec: { ...a.spec, loadBalancerIp, ports: [tcp(80, 30_007), tcp(443)] } };
  expect(shownOf(now, a)).toEqual(['Assigned', '192.0.2.8', '80>30007', '443 NotRecorded']);
});

test('a Service that was deleted and created again has nothing of its predecessor', () => {
  const again = makeService('a', { ports: [tcp(80, 30_007)] }, { uid: 'another' as ServiceUid });
  expect(shownOf(again, a)).toEqual(['NotRecorded']);
});

test('the kept assignment is the same object while the spec is', () => {
  const before = decisionFor(a);
  const unrecorded = new Map([[a.uid, 'no space left on device']]);
  expect(withUnrecorded(decisionFor(a), before, unrecorded).get(a.key)).toBe(before.assignments.get(a.key));
});

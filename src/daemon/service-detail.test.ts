import { expect, test } from 'vitest';
import { listener, localListener, localTable, node, nodeName, podListener, podTable } from '../../test/make/table.ts';
import { makeService, tcp } from '../../test/make/service.ts';
import { blankReport } from '../../test/make/status.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { emptyReport } from '../core/traffic/report.ts';
import type { Listener } from '../core/traffic/table.ts';
import { apartBackend } from '../core/traffic/apart-ports.ts';
import { endpointLines, listenerLine } from './service-detail.ts';

const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];

test('Pods as servers are counted by node, and their listeners show no nodePort', () => {
  const [http, https] = [podListener('192.0.2.51', 80), podListener('192.0.2.51', 443)];
  const pods = (port: number): readonly string[] => [
    `10.244.1.7 ${port} n1`,
    `10.244.1.8 ${port} n1`,
    `10.244.2.9 ${port}`,
  ];
  const table = podTable(
    [
      [http, pods(8080)],
      [https, [...pods(8443), '10.244.3.1 8443 draining', '10.244.4.1 8443 n2 draining']],
    ],
    nodes,
  );
  expect(endpointLines({ table }, [http, https], emptyReport)).toEqual([
    { node: 'n1', family: 4, weight: 2, state: 'taking' },
    { node: 'unknown node', family: 4, weight: 1, state: 'taking' },
    { node: 'n2', family: 4, weight: 1, state: 'draining' },
  ]);
  expect(listenerLine({ ...http, targetPort: 30_080 }, undefined, undefined, undefined).nodePort).toBeUndefined();
});

test('with externalTrafficPolicy: Local they are the nodes with their weights', () => {
  const web = localListener('192.0.2.51', 80, 30_080);
  const table = localTable([[web, { n1: 2, n2: { terminating: 1 } }]], nodes);
  expect(endpointLines({ table }, [web], emptyReport)).toEqual([
    { node: 'n1', family: 4, weight: 2, state: 'taking' },
    { node: 'n2', family: 4, weight: 1, state: 'terminating' },
  ]);
  expect(listenerLine(web, undefined, undefined, undefined).nodePort).toBe(30_080);
});

test('a node with ready endpoints that direct cannot reach says why, one whose endpoints terminate does not', () => {
  const web: Listener = { ...localListener('192.0.2.51', 80, 0), dataplane: 'direct' };
  const table = localTable([[web, { n1: 2, n2: 1, n3: { terminating: 1 } }]], [...nodes, node('n3', '192.0.2.13')]);
  const listeners = PersistentMap.from([[web.key, { ...blankReport, isForwarding: true }] as const]);
  const directObstacles = new Map(['n2', 'n3'].map((name) => [nodeName(name), { 4: 'offLink' as const }]));
  expect(endpointLines({ table }, [web], { ...emptyReport, listeners, directObstacles })).toEqual([
    { node: 'n1', family: 4, weight: 2, state: 'taking' },
    {
      node: 'n2',
      family: 4,
      weight: 1,
      state: 'unreached',
      why: 'n2 has no address in a LAN of the load-balancer host',
    },
    { node: 'n3', family: 4, weight: 1, state: 'terminating' },
  ]);
});

test('a node that does not answer is said to get nothing at once, before the condition names it', () => {
  const web: Listener = { ...localListener('192.0.2.51', 80, 0), dataplane: 'direct' };
  const table = localTable([[web, { n1: 2, n2: 1 }]], nodes);
  const report = {
    ...emptyReport,
    listeners: PersistentMap.from([[web.key, { ...blankReport, isForwarding: true }] as const]),
    health: new Map([[nodeName('n2'), { 4: 'silent' as const }]]),
  };
  expect(endpointLines({ table }, [web], report)?.map(({ node: name, why }) => `${name} ${why}`)).toEqual([
    'n1 undefined',
    'n2 kube-proxy on n2 does not answer on port 10256: open the port to the load-balancer host',
  ]);
});

test('a node that direct reaches in one family only is said to be so', () => {
  const [web4, web6] = ['192.0.2.51', '2001:db8::51'].map((vip): Listener => {
    return { ...localListener(vip, 80, 0), dataplane: 'direct' };
  }) as [Listener, Listener];
  const n2 = node('n2', '192.0.2.12', '2001:db8::12');
  const table = localTable(
    [
      [web4, { n2: 1 }],
      [web6, { n2: 1 }],
    ],
    [n2],
  );
  const listeners = PersistentMap.from(
    [web4, web6].map(({ key }) => [key, { ...blankReport, isForwarding: true }] as const),
  );
  const directObstacles = new Map([[n2.name, { 6: 'offLink' as const }]]);
  const lines = endpointLines({ table }, [web4, web6], { ...emptyReport, listeners, directObstacles });
  expect(lines?.map(({ family, state }) => `${family} ${state}`)).toEqual(['4 taking', '6 unreached']);
});

test('a listener of direct names its stand-in while no node takes its packets, if there is one', () => {
  const web = listener('192.0.2.51', 80, 30_080, { dataplane: 'direct', standIn: 'haproxy' });
  const stoodInBy = (report: Parameters<typeof listenerLine>[2]): unknown =>
    listenerLine(web, undefined, report, undefined).stoodInBy;
  expect(stoodInBy({ isForwarding: false, standInTrouble: undefined })).toBe('haproxy');
  expect(stoodInBy({ isForwarding: true, standInTrouble: undefined })).toBeUndefined();
  expect(stoodInBy({ isForwarding: false, standInTrouble: 'HAProxy cannot be changed' })).toBeUndefined();
});

test('a listener says why it has its dataplane', () => {
  const { spec } = makeService('web', { externalTrafficPolicy: 'Local', ports: [tcp(80)] });
  const web = listener('192.0.2.51', 80, 30_080, { dataplane: 'direct', standIn: 'haproxy' });
  expect(listenerLine(web, spec, undefined, undefined).cause).toBe('Local');
});

test('a node that several ports have in common is listed once', () => {
  const web = localListener('192.0.2.51', 80, 30_080);
  const dns = listener('192.0.2.51', 53, 30_053, {
    service: web.service,
    backend: apartBackend(4, web.service, { port: 53, protocol: 'TCP' }),
  });
  const table = localTable(
    [
      [web, { n1: 2 }],
      [dns, { n1: 1, n2: 1 }],
    ],
    nodes,
  );
  expect(
    endpointLines({ table }, [web, dns], emptyReport)?.map(({ node: name, weight }) => `${name} ${weight}`),
  ).toEqual(['n1 2', 'n2 1']);
});

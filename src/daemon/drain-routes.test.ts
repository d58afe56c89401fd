import { expect, test } from 'vitest';
import { filesOf } from '../../test/sim/harness.ts';
import { recordLog } from '../../test/sim/observers.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import { drainRoutes } from './drain-routes.ts';
import { loadDrains } from './drains.ts';
import type { ListenerLine, ServiceDetail } from './service-detail.ts';

const { signal } = new AbortController();

function listenerOf(
  dataplane: ListenerLine['dataplane'],
  protocol: ListenerLine['protocol'],
  port: number,
): ListenerLine {
  return {
    address: '192.0.2.51',
    protocol,
    port,
    dataplane,
    cause: undefined,
    stoodInBy: undefined,
    nodePort: 30_000,
    sourceRanges: undefined,
    traffic: undefined,
  };
}

function detailOf(listeners: readonly ListenerLine[], connections: number | undefined): ServiceDetail {
  const counters = {
    total: 9,
    bytesIn: 0,
    bytesOut: 0,
    packetsIn: 0,
    packetsOut: 0,
    refused: 0,
    rates: undefined,
    recent: undefined,
  };
  return {
    at: '',
    notReady: [],
    haproxy: undefined,
    haproxyTrouble: undefined,
    nodes: [],
    listeners,
    endpoints: undefined,
    service: {
      service: 'shop/web',
      status: 'Serving',
      addresses: [],
      ports: [],
      reason: '',
      message: '',
      ageSeconds: 1,
      traffic: connections === undefined ? undefined : { connections, ...counters },
    },
  };
}

/** Answers about the Service `shop/web`, and the Services that are drained then. */
async function tell(
  detail: ServiceDetail | 'unknown' | undefined,
  ...verbs: readonly ('drain' | 'undrain')[]
): Promise<{ readonly said: readonly string[]; readonly drained: readonly string[] }> {
  const [files, log] = [filesOf(new Map()), recordLog()];
  const serviceDrains = await loadDrains<ServiceKey>({ kind: 'service', path: '/services', files, log });
  const drains = await loadDrains<NodeName>({ kind: 'node', path: '/nodes', files, log });
  const view = { service: async () => detail, nodes: async () => [], pastHaproxy: () => [] };
  const routes = drainRoutes({
    view,
    drains,
    serviceDrains,
    nodes: () => new Map(),
    otherHolder: () => undefined,
    log,
  });
  const said: string[] = [];
  for (const verb of verbs) {
    const reply = await routes[`POST /${verb}`]?.('shop/web', signal, new URLSearchParams());
    said.push(`${reply?.status} ${typeof reply?.body === 'string' ? reply.body.trim() : ''}`);
  }
  expect(drains.current().size).toBe(0);
  return { said, drained: [...serviceDrains.current()] };
}

const web = listenerOf('haproxy', 'TCP', 80);

test('a Service is drained, with the number of its connections, and undrained', async () => {
  expect(await tell(detailOf([web], 3), 'drain')).toEqual({
    said: ['200 service/shop/web drained: 3 connections left'],
    drained: ['shop/web'],
  });
  expect(await tell(detailOf([web], 1), 'drain', 'undrain', 'undrain')).toEqual({
    said: [
      '200 service/shop/web drained: 1 connection left',
      '200 service/shop/web accepts connections again',
      '200 service/shop/web is not drained',
    ],
    drained: [],
  });
  expect((await tell(detailOf([], undefined), 'drain')).said).toEqual(['200 service/shop/web drained']);
});

test('a Service is drained if something other than direct can serve each port; else the answer names the ports', async () => {
  const served = [web, listenerOf('nat', 'UDP', 53), listenerOf('direct', 'TCP', 81)];
  expect(await tell(detailOf(served, 3), 'drain')).toMatchObject({ drained: ['shop/web'] });
  const alone = (['TCP', 'UDP'] as const).map((protocol) => ({
    ...listenerOf('direct', protocol, 54),
    nodePort: undefined,
  }));
  expect(await tell(detailOf([...served, ...alone], 3), 'drain')).toEqual({
    said: [
      '409 service/shop/web not drained: TCP port 54, UDP port 54 have no nodePort, so only direct can serve them, and it cannot refuse new connections and keep the existing ones',
    ],
    drained: [],
  });
  expect((await tell(detailOf(alone.slice(0, 1), 3), 'drain')).said[0]).toContain('TCP port 54 has no nodePort, ');
});

test.each([
  ['unknown' as const, '503 The Services are not known yet.'],
  [undefined, '404 Service "shop/web" not found, '],
])('a Service that is %s is neither drained nor undrained', async (detail, words) => {
  const { said, drained } = await tell(detail, 'drain', 'undrain');
  expect(said.map((text) => text.slice(0, words.length))).toEqual([words, words]);
  expect(drained).toEqual([]);
});

test('on a host that waits for the Lease, the answer names the host that has it, and nothing is drained', async () => {
  const [files, log] = [filesOf(new Map()), recordLog()];
  const serviceDrains = await loadDrains<ServiceKey>({ kind: 'service', path: '/services', files, log });
  const drains = await loadDrains<NodeName>({ kind: 'node', path: '/nodes', files, log });
  const routes = drainRoutes({
    view: { service: async () => 'unknown', nodes: async () => [], pastHaproxy: () => [] },
    drains,
    serviceDrains,
    nodes: () => undefined,
    otherHolder: () => 'host lb2 holds the Lease furiwake-system/furiwake',
    log,
  });
  for (const name of ['n1', 'shop/web'])
    for (const verb of ['drain', 'undrain'])
      expect(await routes[`POST /${verb}`]?.(name, signal, new URLSearchParams())).toMatchObject({
        status: 409,
        body: 'This host waits: host lb2 holds the Lease furiwake-system/furiwake. Run the command there; each host keeps its own drains.\n',
      });
  expect([drains.current().size, serviceDrains.current().size]).toEqual([0, 0]);
});

import { expect, test } from 'vitest';
import { listener, node, tableOf } from '../../test/make/table.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { Listener, TrafficTable } from '../core/traffic/table.ts';
import type { EndedConnection } from '../ports/proxy.ts';
import { connectionsRoute } from './ended-connections.ts';

const { signal } = new AbortController();
const [web, dns, gone] = [
  listener('192.0.2.200', 80, 30_080, { service: 'shop/web' as ServiceKey }),
  listener('192.0.2.201', 53, 30_053, { service: 'shop/dns' as ServiceKey, dataplane: 'nat', protocol: 'UDP' }),
  listener('2001:db8::9', 443, 30_443),
] as const;

function ended({ key }: Listener, server?: string): EndedConnection {
  return {
    atMs: 1_796_016_090_042,
    client: { address: '198.51.100.7', port: 39_660 },
    listener: key,
    server: server === undefined ? undefined : { address: server, port: 30_080 },
    queueMs: 0,
    connectMs: 1,
    totalMs: 340,
    bytesIn: 79,
    bytesOut: 2_400,
    retries: 0,
    end: '--',
    words: 'closed',
  };
}

/** The answer of a host that serves `table`, and what HAProxy was asked for. */
async function ask(
  query: string,
  table: TrafficTable | undefined = tableOf([web, dns], [node('n1', '192.0.2.11')]),
): Promise<{ readonly status: number; readonly body: string; readonly asked: readonly unknown[] }> {
  const asked: unknown[] = [];
  const route = connectionsRoute({
    agent: { desired: () => table },
    proxy: {
      connections: async (options) => {
        asked.push(options);
        return [ended(web, '192.0.2.11'), ended(gone, '10.0.3.17'), ended(web)];
      },
      trouble: () => undefined,
    },
    clock: { now: () => 0 },
  });
  const { status, body } = await route('', signal, new URLSearchParams(query));
  return { status, body: Array.from(body).join(''), asked };
}

test('each connection has the Service of its listener and the node of its server, where these are known', async () => {
  const { body, asked } = await ask('last=20');
  expect(asked).toEqual([{ keys: undefined, most: 20 }]);
  const { connections } = JSON.parse(body) as { connections: unknown[] };
  expect(connections).toMatchObject([
    { at: '2026-11-30T05:21:30.042Z', address: '192.0.2.200', port: 80, service: 'shop/web', node: 'n1' },
    { address: '2001:db8::9', port: 443, server: { address: '10.0.3.17' } },
    { service: 'shop/web' },
  ]);
  expect(connections[1]).not.toHaveProperty('service');
  expect(connections[2]).not.toHaveProperty('node');
});

test('HAProxy is asked for those of one Service', async () => {
  const { status, asked } = await ask('service=shop/web&last=99999999');
  expect(status).toBe(200);
  expect(asked).toEqual([{ keys: new Set([web.key]), most: 10_000 }]);
});

test.each([
  ['shop/none', 'Service "shop/none" not found, or this host serves no port of it\n'],
  [
    'shop/dns',
    'HAProxy serves no port of Service "shop/dns", and nat keeps no list of connections; `conntrack --dump` on this host lists them\n',
  ],
])('a Service without HAProxy, %s, is refused in words', async (service, words) => {
  expect(await ask(`service=${service}`)).toEqual({ status: 404, body: words, asked: [] });
});

test('a Service that HAProxy serves only as a stand-in has a note that says so', async () => {
  const local = listener('192.0.2.202', 80, 30_080, {
    service: 'shop/local' as ServiceKey,
    dataplane: 'direct',
    standIn: 'haproxy',
  });
  const { body } = await ask('service=shop/local', tableOf([local], []));
  expect(JSON.parse(body)).toMatchObject({
    note: 'HAProxy serves port 80/TCP only while direct cannot, and direct keeps no list of connections; its Pods see the addresses of its clients',
  });
});

test('a Service of which HAProxy serves some ports has a note about the others', async () => {
  const both = [web, listener('192.0.2.200', 53, 30_053, { service: web.service, dataplane: 'nat', protocol: 'UDP' })];
  const { body } = await ask('service=shop/web', tableOf(both, []));
  expect(JSON.parse(body)).toMatchObject({
    note: 'HAProxy does not serve port 53/UDP, and nat keeps no list of connections; `conntrack --dump` on this host lists them',
  });
});

test.each([
  ['not started', undefined, undefined],
  ['does not answer', tableOf([web], []), undefined],
  ['cannot be started', tableOf([web], []), 'cannot be started'],
])('a HAProxy without an answer: %s', async (words, table, trouble) => {
  const route = connectionsRoute({
    agent: { desired: () => table },
    proxy: { connections: () => Promise.reject(new Error('connect ENOENT /run/worker.sock')), trouble: () => trouble },
    clock: { now: () => 0 },
  });
  expect(await route('', signal, new URLSearchParams())).toMatchObject({ status: 503, body: `HAProxy: ${words}\n` });
});

test('a host without a table shows what HAProxy remembers', async () => {
  const { status, body } = await ask('');
  expect(status).toBe(200);
  expect(body).toContain('198.51.100.7');
});

import { expect, test } from 'vitest';
import { directListener, listener, tableOf } from '../../../test/make/table.ts';
import type { RuntimeApi } from './client.ts';
import { planDesired } from './desired.ts';
import { readCounters } from './observe.ts';

const rows = {
  web: '0x1: key=192.0.2.51|443 use=0 conn_cnt=9 conn_cur=1 bytes_in_cnt=711 bytes_out_cnt=1125 gpc0=2',
  other: '0x2: key=192.0.2.52|443 use=0 conn_cnt=3 conn_cur=0 bytes_in_cnt=1 bytes_out_cnt=2',
};
const head = '# table: services, type: string, size:204800, used:2';
const answers: Readonly<Record<string, string>> = {
  'show table services': [head, rows.web, rows.other].join('\n'),
  'show table services key 192.0.2.51|443': [head, rows.web].join('\n'),
  'show table services key 192.0.2.53|443': head,
};
const api: RuntimeApi = {
  ask: async (commands) => commands.map((command) => answers[command] ?? 'unknown command'),
  perform: async () => new Map(),
  replaceMap: async () => true,
};

const settings = { folder: '/', maxConnections: 1, idleTimeoutSeconds: 1, hasIpv6: true, account: undefined };
const [web, unused] = [listener('192.0.2.51', 443, 30_443), listener('192.0.2.53', 443, 30_444)];
const others = [directListener('192.0.2.51', 443), directListener('192.0.2.52', 443, { protocol: 'TCP' })];
const desired = planDesired(settings, tableOf([web, unused, ...others]), undefined);
const { signal } = new AbortController();

test('the counters of HAProxy are those of its own listeners, not of others on the same address and port', async () => {
  expect(await readCounters(api, desired, undefined, signal)).toEqual(
    new Map([
      [web.key, { connections: 1, total: 9, bytesIn: 711, bytesOut: 1125, refused: 2 }],
      [unused.key, { connections: 0, total: 0, bytesIn: 0, bytesOut: 0, refused: 0 }],
    ]),
  );
  expect(await readCounters(api, undefined, undefined, signal)).toEqual(new Map());
});

test('the counters of some listeners are read by their keys, without the rest of the table', async () => {
  const asked: string[] = [];
  const counting: RuntimeApi = {
    ...api,
    ask: (commands, each) => {
      asked.push(...commands);
      return api.ask(commands, each);
    },
  };
  const keys = [web.key, unused.key, others[1]!.key, listener('192.0.2.99', 1, 1).key];
  const counters = await readCounters(counting, desired, keys, signal);
  expect(asked).toEqual(['show table services key 192.0.2.51|443', 'show table services key 192.0.2.53|443']);
  expect(Array.from(counters, ([key, { total }]) => [key, total])).toEqual([
    [web.key, 9],
    [unused.key, 0],
  ]);
});

import { expect, test } from 'vitest';
import { silent } from '../../../test/make/log.ts';
import { directListener, listener, tableOf } from '../../../test/make/table.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import { makeHealth } from '../../health/health.ts';
import type { RuntimeApi } from './client.ts';
import { planDesired } from './desired.ts';
import { observeProxy } from './observe.ts';

const answers: Readonly<Record<string, string>> = {
  'show info': 'Pid: 1\nVersion: 2.6.12',
  'show table services': [
    '# table: services, type: string, size:204800, used:2',
    '0x1: key=192.0.2.51|443 use=0 conn_cnt=9 conn_cur=1 bytes_in_cnt=711 bytes_out_cnt=1125',
    '0x2: key=192.0.2.52|443 use=0 conn_cnt=3 conn_cur=0 bytes_in_cnt=1 bytes_out_cnt=2',
  ].join('\n'),
};
const api: RuntimeApi = {
  ask: async (commands) => commands.map((command) => answers[command] ?? '# pxname,svname'),
  perform: async () => new Map(),
  replaceMap: async () => true,
};

test('the counters of HAProxy are those of its own listeners, not of others on the same address and port', async () => {
  const own = listener('192.0.2.51', 443, 30_443);
  const others = [directListener('192.0.2.51', 443), directListener('192.0.2.52', 443, { protocol: 'TCP' })];
  const settings = { folder: '/', maxConnections: 1, idleTimeoutSeconds: 1, hasIpv6: true, account: undefined };
  const { families } = makeHealth({
    probe: async () => 'http',
    silenceMs: 15_000,
    clock: virtualClock(),
    log: silent,
    metrics: recordMetrics(),
  });
  const desired = planDesired(settings, tableOf([own, ...others]), undefined);
  const { listeners } = await observeProxy(api, desired, families, new AbortController().signal);
  expect(listeners).toEqual([
    expect.objectContaining({ key: own.key, connections: 1, total: 9, bytesIn: 711, bytesOut: 1125 }),
  ]);
});

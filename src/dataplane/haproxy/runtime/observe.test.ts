import { expect, test } from 'vitest';
import { withOptions } from '../../../../test/make/options.ts';
import { directListener, listener, node, podListener, podTable, tableOf } from '../../../../test/make/table.ts';
import type { RuntimeApi } from './client.ts';
import { planDesired } from '../config/desired.ts';
import { makeListener } from '../../../core/traffic/make-listener.ts';
import { readCounters, readServerCounters } from './observe.ts';

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
const oldWorkers = { find: async () => [], ask: async () => [] };

test('the counters of HAProxy are those of its own listeners, not of others on the same address and port', async () => {
  expect(await readCounters(api, desired, { keys: undefined, oldWorkers }, signal)).toEqual(
    new Map([
      [web.key, { connections: 1, total: 9, bytesIn: 711, bytesOut: 1125, refused: 2 }],
      [unused.key, { connections: 0, total: 0, bytesIn: 0, bytesOut: 0, refused: 0 }],
    ]),
  );
  expect(await readCounters(api, undefined, { keys: undefined, oldWorkers }, signal)).toEqual(new Map());
});

test('connections that old workers hold count, their totals do not', async () => {
  const old = ['0x1: key=192.0.2.51|443 conn_cnt=7 conn_cur=2', '0x2: key=192.0.2.53|443 conn_cnt=1 conn_cur=1'];
  const ask = async (command: string): Promise<readonly string[]> =>
    command === 'show table services data.conn_cur gt 0' ? [`${head}\n${old.join('\n')}\n`, `${head}\n${old[0]}`] : [];
  const counters = await readCounters(api, desired, { keys: undefined, oldWorkers: { ...oldWorkers, ask } }, signal);
  expect(Array.from(counters.values(), ({ connections, total }) => [connections, total])).toEqual([
    [1, 0],
    [5, 9],
  ]);
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
  const counters = await readCounters(counting, desired, { keys, oldWorkers }, signal);
  expect(asked).toEqual(['show table services key 192.0.2.51|443', 'show table services key 192.0.2.53|443']);
  expect(Array.from(counters, ([key, { total }]) => [key, total])).toEqual([
    [web.key, 9],
    [unused.key, 0],
  ]);
});

/** HAProxy with these lines of `show stat` for each backend: server, open, waiting, all, failed connections. */
function statApi(lines: readonly string[], asked: string[] = []): RuntimeApi {
  const columns = '# pxname,svname,scur,qcur,stot,econ,eresp';
  return {
    ...api,
    ask: async (commands) => {
      asked.push(...commands);
      return commands.map((command) =>
        [columns, ...lines.map((line) => `${command.split(' ')[2]},${line}`)].join('\n'),
      );
    },
  };
}

const nodes = [node('n1', '192.0.2.11', '2001:db8::11')];

test('the counters of servers are those of Services that ask for them, over all of their ports', async () => {
  const measured = [80, 81].map((port) => ({
    ...withOptions('192.0.2.51', port, 30_000 + port, { isMeasured: true }),
  }));
  const other = withOptions('192.0.2.52', 80, 30_082, { server: { slowStartMs: 1000 } });
  const asked: string[] = [];
  const lines = ['BACKEND,9,2,9,9,9', 'n1:30080,1,1,10,3,4', 'n1:30081,5,0,20,0,1', 'n2:30080,9,0,9,9,9'];
  const planned = planDesired(settings, tableOf([...measured, other, web], nodes), undefined);
  expect(await readServerCounters(statApi(lines, asked), planned, signal)).toEqual({
    servers: [{ service: 'test/to-192.0.2.51', server: 'n1', connections: 6, total: 30, errors: 8 }],
    queued: new Map([['test/to-192.0.2.51', 6]]),
    omitted: 0,
  });
  expect(asked).toEqual(['show stat spare4-0 6 -1', 'show stat spare4-1 6 -1']);
  expect(await readServerCounters(api, undefined, signal)).toEqual({ servers: [], queued: new Map(), omitted: 0 });
});

test('a Pod is a server by its address', async () => {
  const { options } = withOptions('192.0.2.51', 80, 0, { isMeasured: true });
  const listenerOfPods = makeListener({ ...podListener('192.0.2.51', 80), options });
  const planned = planDesired(settings, podTable([[listenerOfPods, ['10.244.1.7 8080 n1']]], nodes), undefined);
  const { servers } = await readServerCounters(statApi(['pod_10.244.1.7_8080,1,0,2,0,0']), planned, signal);
  expect(servers.map(({ server, total }) => [server, total])).toEqual([['10.244.1.7', 2]]);
});

test('the servers of at most 500 ports are read, and the others are counted', async () => {
  const many = Array.from({ length: 503 }, (_, index) =>
    withOptions(`192.0.2.${index % 250}`, 1 + Math.floor(index / 250), 30_080, { isMeasured: true }),
  ).map((each, index) => makeListener({ ...each, targetPort: 30_000 + index }));
  const asked: string[] = [];
  const planned = planDesired(settings, tableOf(many, nodes), undefined);
  expect((await readServerCounters(statApi([], asked), planned, signal)).omitted).toBe(3);
  expect(asked).toHaveLength(500);
});

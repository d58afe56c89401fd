import { expect, test } from 'vitest';
import { udp } from '../../test/make/service.ts';
import { blankReport } from '../../test/make/status.ts';
import {
  addressOf,
  directListener,
  listener,
  localListener,
  localTable,
  node,
  nodeName,
  tableOf,
  type Weights,
} from '../../test/make/table.ts';
import type { Assignment } from '../core/addresses/assignment.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { emptyReport, type HostReport, type ListenerReport } from '../core/traffic/report.ts';
import type { Listener } from '../core/traffic/table.ts';
import { droppingGraceMs, judgeDropping, soonest } from './dropping.ts';

const assignment: Assignment = {
  addresses: [{ ip: addressOf('192.0.2.8'), isHostAddress: false, served: [udp(53)], unserved: [] }],
  verdict: { reason: 'Assigned', message: '' },
  refused: [],
  disowned: [],
  keepsStatus: false,
  waitsForHost: false,
};
const dns = directListener('192.0.2.8', 53, { isPublished: true });

function judge(of: Listener, report: Partial<ListenerReport> | undefined, sinceMs: number | undefined, nowMs: number) {
  const blank = { ...blankReport, holder: of.service, revision: of.revision };
  const reports: HostReport = {
    ...emptyReport,
    listeners:
      report === undefined ? PersistentMap.empty() : PersistentMap.from([[of.key, { ...blank, ...report }] as const]),
    directObstacles: new Map([[nodeName('n1'), { 4: 'offLink' as const }]]),
  };
  return judgeDropping(assignment, tableOf([of], [node('n1', '192.0.2.11')]), reports, sinceMs, nowMs);
}

test('packets are dropped briefly for ten seconds, then for a reason', () => {
  expect(judge(dns, {}, undefined, 500)).toEqual({
    sinceMs: 500,
    dropping: 'briefly',
    later: { requeueAfterMs: droppingGraceMs },
  });
  expect(judge(dns, {}, 500, 10_499)).toEqual({ sinceMs: 500, dropping: 'briefly', later: { requeueAfterMs: 1 } });
  expect(judge(dns, {}, 500, 10_500)).toEqual({
    sinceMs: 500,
    dropping: expect.objectContaining({ 4: 'n1 has no address in a LAN of the load-balancer host' }),
    later: undefined,
  });
});

const none = { sinceMs: undefined, dropping: undefined, later: undefined };

test.each<[what: string, of: Listener, report: Partial<ListenerReport>]>([
  ['forwarded', dns, { isForwarding: true }],
  ['those of a listener that is not published', directListener('192.0.2.8', 53), {}],
  ['HAProxy’s', listener('192.0.2.8', 53, 0, { protocol: 'UDP' }), {}],
])('packets that are %s are not dropped', (_, of, report) => expect(judge(of, report, 500, 60_000)).toEqual(none));

test('the time counts on while the host has not reported on the listener', () => {
  for (const report of [undefined, { revision: undefined }])
    expect(judge(dns, report, 500, 60_000)).toEqual({ ...none, sinceMs: 500 });
});

test('of a Service with nodes of its own only those count, and without one its packets have no node to get to', () => {
  const web = localListener('192.0.2.8', 53, 0);
  const own = directListener('192.0.2.8', 53, { isPublished: true, backend: web.backend });
  const judgeLocal = (weights: Weights) => {
    const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
    const report = { ...blankReport, holder: own.service, revision: own.revision };
    const reports = { ...emptyReport, listeners: PersistentMap.from([[own.key, report] as const]) };
    return judgeDropping(assignment, localTable([[own, weights]], nodes), reports, 500, 60_000);
  };
  expect(judgeLocal({ n2: 1 })).toMatchObject({ dropping: { 4: expect.stringMatching(/^kube-proxy on n2 has not/) } });
  expect(judgeLocal({})).toEqual(none);
});

test('of two waits the shorter one counts', () => {
  const [short, long] = [{ requeueAfterMs: 1 }, { requeueAfterMs: 2 }];
  expect([soonest(short, long), soonest(long, short)]).toEqual([short, short]);
  expect([soonest(undefined, long), soonest(short, undefined), soonest(undefined, undefined)]).toEqual([
    long,
    short,
    undefined,
  ]);
});

test('a Service that direct does not serve is judged without reading the nodes: there are 500, and 10,000 Services', () => {
  const table = tableOf([listener('192.0.2.8', 53, 30_053, { protocol: 'UDP', dataplane: 'nat' })]);
  const untouchable = new Proxy(table.nodes, {
    get: () => {
      throw new Error('the nodes are read');
    },
  });
  expect(judgeDropping(assignment, { ...table, nodes: untouchable }, emptyReport, undefined, 0)).toEqual({
    sinceMs: undefined,
    dropping: undefined,
    later: undefined,
  });
});

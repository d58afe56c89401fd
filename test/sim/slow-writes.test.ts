import { expect, test } from 'vitest';
import { makeEventSender } from '../../src/kube/events.ts';
import { makeSimApiServer } from './apiserver.ts';
import { startController, startHost } from './controller-rig.ts';
import { makeHarness } from './harness.ts';
import { recordLog } from './observers.ts';
import { shownIps } from './shown-status.ts';
import { seededRandom, virtualClock } from './virtual-clock.ts';

test('writes to a hundred Services of a namespace that are never answered delay those of no other namespace', async () => {
  const clock = virtualClock();
  const server = makeSimApiServer({ seed: 1, clock });
  await using stack = new AsyncDisposableStack();
  const driven = <T extends AsyncDisposable>(part: T): T => {
    stack.defer(() => clock.drive(Promise.resolve(part[Symbol.asyncDispose]())));
    return part;
  };
  driven(server);
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
  const host = driven(startHost({ clock }));
  driven(await startController(server, host, { clock, addresses: ['198.18.0.0/24'] }));
  const put = (namespace: string, name: string): void =>
    void server.put('Service', {
      metadata: { namespace, name },
      spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }] },
    });
  let isSlow = true;
  server.faults.next({
    mishap: 'hang',
    times: Number.POSITIVE_INFINITY,
    on: ({ path, verb }) => isSlow && path.includes('/slow/') && ['patch', 'apply'].includes(verb),
  });
  for (let index = 0; index < 100; index++) put('slow', `s${index}`);
  await clock.advance(10_000);
  put('default', 'web');
  await clock.advance(1_000);
  expect(shownIps(server, 'default/web')).toHaveLength(1);
  isSlow = false;
  await clock.advance(240_000);
  expect(shownIps(server, 'slow/s99')).toHaveLength(1);
});

test('Events of a namespace that are never answered, and nine hundred of another one, cost a third one a few seconds', async () => {
  const clock = virtualClock();
  const server = makeSimApiServer({ seed: 1, clock });
  for (const name of ['slow', 'many', 'few']) server.put('Namespace', { metadata: { name } });
  const harness = await makeHarness(server, { clock });
  const stop = new AbortController();
  const sender = makeEventSender({
    client: harness.client,
    clock,
    random: seededRandom(6),
    log: recordLog(),
    metrics: harness.metrics,
    reportingController: 'furiwake.dev/controller',
    reportingInstance: 'lb1',
  });
  server.faults.next({
    mishap: 'hang',
    times: Number.POSITIVE_INFINITY,
    on: ({ path }) => path.includes('/slow/'),
  });
  const record = (namespace: string, events: number): void => {
    for (let index = 0; index < events; index++)
      sender.record({
        regarding: { apiVersion: 'v1', kind: 'Service', namespace, name: `s${index}`, uid: `${namespace}-${index}` },
        type: 'Warning',
        reason: 'PoolExhausted',
        action: 'Sync',
        note: 'no address is free',
      });
  };
  record('slow', 50);
  record('many', 940);
  record('few', 20);
  expect(harness.metrics.total('furiwake_events_dropped_total', { reason: 'queue-full' })).toBe(10);
  const running = sender.run(stop.signal);
  await clock.advance(60_000);
  const sent = (namespace: string): number =>
    server.list('Event').filter(({ metadata }) => metadata.namespace === namespace).length;
  expect(sent('few')).toBeGreaterThanOrEqual(7);
  expect(sent('many')).toBeGreaterThanOrEqual(7);
  await clock.advance(120_000);
  expect([sent('few'), sent('slow')]).toEqual([20, 0]);
  stop.abort();
  await clock.drive(running);
  for (const each of [harness, server]) await clock.drive(Promise.resolve(each[Symbol.asyncDispose]()));
});

test('Services that wait for the Lease are written although it ends again when the first of them is tried', async () => {
  const clock = virtualClock();
  const server = makeSimApiServer({ seed: 1, clock });
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }] },
  });
  const host = startHost({ clock });
  /** In the first 10 s not; then, for a moment, for the one check; after 20 s. */
  let asked = 0;
  const mayWrite = (): boolean => {
    if (clock.monotonic() < 10_000) return false;
    return clock.monotonic() >= 20_000 || asked++ === 0;
  };
  const rig = await startController(server, host, { clock, mayWrite });
  server.put('Service', {
    metadata: { namespace: 'default', name: 'web' },
    spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }] },
  });
  await clock.advance(40_000);
  expect(shownIps(server, 'default/web')).toHaveLength(1);
  for (const each of [rig, host, server]) await clock.drive(Promise.resolve(each[Symbol.asyncDispose]()));
});

import { setImmediate as breathe } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { recordLog } from '../../test/sim/observers.ts';
import { startSimApiServer } from '../../test/sim/apiserver.ts';
import { startController, startHost } from '../../test/sim/controller-rig.ts';
import { until } from '../../test/sim/harness.ts';
import { makeLatch } from '../async/latch.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { clusterTroubles, sayWhenReady } from './readiness.ts';

test('looks only after a change, and says once that the host is ready', async () => {
  await using server = await startSimApiServer({ seed: 1 });
  await using host = startHost();
  const changed = makeLatch();
  await using rig = await startController(server, host);
  const log = recordLog();
  let reasons: readonly string[] = ['the Lease is not held'];
  let looks = 0;
  const notReady = (): readonly string[] => {
    looks += 1;
    return reasons;
  };
  const stop = new AbortController();
  const stores = { nodes: { objects: () => PersistentMap.empty<never, never>() } };
  const running = sayWhenReady({ stores, controller: rig.controller, notReady, changed, log }, stop.signal);
  await until(() => rig.controller.plan() !== undefined);
  changed.set();
  await until(() => looks > 0);
  reasons = [];
  const before = looks;
  for (let turn = 0; turn < 20; turn += 1) await breathe();
  expect([looks, log.lines]).toEqual([before, []]);
  changed.set();
  await until(() => log.lines.length > 0);
  changed.set();
  await breathe();
  stop.abort();
  await running;
  expect(log.lines).toMatchObject([{ level: 'info', message: 'ready', fields: { services: 0, withoutAddress: 0 } }]);
});

const every = { 4: 'every node is drained: n1', 6: 'no node has an IPv6 address' };

test.each([
  ['holds the Lease and knows everything', true, undefined, true, { 4: undefined, 6: every[6] }, []],
  [
    'waits for the Lease',
    false,
    undefined,
    true,
    { 4: undefined, 6: undefined },
    ['the Lease ns/furiwake is not held'],
  ],
  ['cannot read the Lease', false, 'forbidden', true, { 4: undefined, 6: undefined }, ['forbidden']],
  ['does not know the Services yet', true, undefined, false, undefined, ['Services and Nodes are not known yet']],
  ['has no node', true, undefined, true, every, ['no node takes connections: every node is drained: n1']],
] as const)('a host that %s is not ready for these reasons', (_, isHeld, trouble, isSynced, nodeTrouble, expected) => {
  const parts = {
    stores: { services: { isSynced }, nodes: { isSynced: true } },
    controller: { plan: () => nodeTrouble && { nodeTrouble } },
  };
  const lease = { isHeld: () => isHeld, trouble: () => trouble };
  expect(clusterTroubles({ lease, leaseName: 'ns/furiwake', parts })).toEqual(expected);
});

import { expect, test } from 'vitest';
import { withOptions } from '../../../../test/make/options.ts';
import { listener } from '../../../../test/make/table.ts';
import { echoPort, namePort, startRig } from '../../../../test/netns/haproxy-rig.ts';
import { allPrepared } from '../../../../test/make/unprepared.ts';
import { serviceKey } from '../../../core/model/names.ts';
import type { Listener } from '../../../core/traffic/table.ts';

test('a namespace with a connection in each of four old workers waits, and its listener takes connections; another gets its settings', async () => {
  await using rig = await startRig({ nodes: 1 });
  const { proxy, metric } = rig.newDriver();
  const hostile = (idleTimeoutMs: number): Listener => ({
    ...withOptions('10.50.0.1', 25, echoPort, { profile: { idleTimeoutMs } }),
    service: serviceKey('hostile', 'mail'),
  });
  const connections: Awaited<ReturnType<typeof rig.connect>>[] = [];
  await proxy.upsert(rig.table([listener('10.50.0.1', 25, echoPort)]), rig.signal);
  for (let change = 1; change <= 4; change++) {
    connections.push(await rig.connect());
    expect(await proxy.upsert(rig.table([hostile(60_000 + change)]), rig.signal)).toEqual(allPrepared);
  }
  const other = withOptions('10.50.0.2', 80, namePort, { profile: { idleTimeoutMs: 90_000 } });
  expect(other.service).not.toBe(hostile(0).service);
  const { deferred } = await proxy.upsert(rig.table([hostile(65_000)]), rig.signal);
  expect(deferred.get(hostile(0).key)).toBe(
    'idle-timeout=65000ms needs a reload of HAProxy; 4 workers that reloads have replaced still have connections, 4 of them replaced for namespace hostile; the next reload is when one has ended',
  );
  expect(await proxy.upsert(rig.table([hostile(60_004), other]), rig.signal)).toEqual(allPrepared);
  expect(metric('furiwake_reloads_total')).toBe(5);
  expect(await rig.fetch('10.50.0.2')).toMatchObject({ status: 200 });
  connections.push(await rig.connect());
  for (const connection of connections) await connection.echoes();
});

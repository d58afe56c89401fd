import { expect, test } from 'vitest';
import { answer, listener, publish, type RunningAgent, startAgent, table } from '../../test/make/agent-rig.ts';
import { makeHostPorts } from '../../test/make/host-ports.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { ListenerKey, ServiceUid } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Listener, TrafficTable } from '../core/traffic/table.ts';

const refused = (rig: RunningAgent): readonly string[] => [...rig.ports.held.steering.serverless];

const without = (...listeners: readonly Listener[]): Pick<TrafficTable, 'withoutEndpoints'> => ({
  withoutEndpoints: PersistentMap.from<ListenerKey, ServiceUid>(listeners.map(({ key, uid }) => [key, uid])),
});

test('a Service that loses its endpoints refuses new connections and stays in force; others do not notice', async () => {
  const [a, b] = [listener('192.0.2.51', 80, 'a'), listener('192.0.2.51', 443, 'b')];
  const rig = await publish(startAgent(), a, b);
  expect(refused(rig)).toEqual([]);
  const before = table(a, b);
  rig.agent.publish({ ...before, ...without(a) });
  await rig.clock.advance(0);
  expect(refused(rig)).toEqual([a.key]);
  expect([answer(rig, a), answer(rig, b)]).toEqual(['ready', 'ready']);
  expect(rig.ports.steps.filter((step) => step.startsWith('end'))).toEqual([]);
  rig.agent.publish({ ...before, ...without() });
  await rig.clock.advance(0);
  expect(refused(rig)).toEqual([]);
});

test.each(['restarted', 'rebooted'])(
  'on a host that was %s, the same listeners refuse connections until the endpoints are known',
  async (how) => {
    const clock = virtualClock();
    const [files, ports] = [new Map<string, string>(), makeHostPorts(clock)];
    const [a, b] = [listener('192.0.2.51', 80, 'a'), listener('192.0.2.51', 443, 'b')];
    const first = await publish(startAgent({ clock, files, ports }), a, b);
    first.agent.publish({ ...table(a, b), ...without(a) });
    await clock.advance(0);
    expect(refused(first)).toEqual([a.key]);

    const next = startAgent({ clock, files, ports: how === 'restarted' ? ports : makeHostPorts(clock) });
    await next.agent.restore(() => undefined);
    await clock.advance(0);
    expect(refused(next)).toEqual([a.key]);
    // The controller knows the Services before their endpoints; one of them is another Service meanwhile.
    await publish(next, a, b);
    expect(refused(next)).toEqual([a.key]);
    next.agent.publish({ ...table(a, b), ...without(b) });
    await clock.advance(0);
    expect(refused(next)).toEqual([b.key]);
  },
);

test('while the endpoints are not known, another Service on the listener does not refuse connections', async () => {
  const a = listener('192.0.2.51', 80, 'a');
  const rig = await publish(startAgent(), a);
  rig.agent.publish({ ...table(a), ...without(a) });
  await rig.clock.advance(0);
  await publish(rig, listener('192.0.2.51', 80, 'b', { uid: 'b' as ServiceUid }));
  expect(refused(rig)).toEqual([]);
});

import { expect, test } from 'vitest';
import { answer, listener, publish, startAgent, table } from '../../test/make/agent-rig.ts';
import { PersistentMap } from '../core/persistent-map.ts';

test('a Service that loses its endpoints refuses new connections and stays in force; others do not notice', async () => {
  const [a, b] = [listener('192.0.2.51', 80, 'a'), listener('192.0.2.51', 443, 'b')];
  const rig = await publish(startAgent(), a, b);
  const refused = (): readonly string[] => [...rig.ports.held.steering.serverless];
  expect(refused()).toEqual([]);
  const before = table(a, b);
  rig.agent.publish({ ...before, withoutEndpoints: PersistentMap.from([[a.service, true]]) });
  await rig.clock.advance(0);
  expect(refused()).toEqual([a.key]);
  expect([answer(rig, a), answer(rig, b)]).toEqual(['ready', 'ready']);
  expect(rig.ports.steps.filter((step) => step.startsWith('end'))).toEqual([]);
  rig.agent.publish(before);
  await rig.clock.advance(0);
  expect(refused()).toEqual([]);
});

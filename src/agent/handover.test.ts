import { expect, test } from 'vitest';
import { answer, listener, publish, startAgent } from '../../test/make/agent-rig.ts';

test('a change of hands leaves the address on the host, and another one is removed', async () => {
  const rig = startAgent();
  await publish(rig, listener('192.0.2.51', 80, 'a'), listener('192.0.2.59', 80, 'away'));
  const kept: boolean[] = [];
  const { placement } = rig.ports;
  const remove = placement.remove.bind(placement);
  placement.remove = async (wanted, signal) => {
    kept.push(wanted.has('192.0.2.51'));
    return await remove(wanted, signal);
  };
  const other = listener('192.0.2.51', 80, 'other');
  await publish(rig, other);
  expect([kept, answer(rig, other)]).toEqual([[true, true], 'ready']);
  expect([...rig.ports.held.placed.keys()]).toEqual(['192.0.2.51']);
});

import { expect, test } from 'vitest';
import { listener, publish, type RunningAgent, startAgent } from '../../test/make/agent-rig.ts';

/* Which addresses a host has when it learns that others keep theirs. */

const a = listener('192.0.2.51', 80, 'a');
const b = listener('192.0.2.52', 80, 'b');
const theirs = (...texts: readonly string[]): Map<string, string> =>
  new Map(texts.map((text) => [text, '02:00:00:00:00:99']));
const placed = (rig: RunningAgent): readonly string[] => [...rig.ports.held.placed.keys()].toSorted();

test('the last table of a host that is withdrawn is not in force', async () => {
  const rig = await publish(startAgent(), a, b);
  rig.agent.setServing(false);
  await rig.clock.advance(1_000);
  rig.ports.setDuplicates(theirs('192.0.2.51', '192.0.2.52'));
  rig.ports.held.attracted.clear();
  rig.agent.setKeepers(['lb1']);
  rig.agent.setServing(true);
  await rig.clock.advance(60_000);
  expect([...rig.ports.held.attracted]).toEqual([]);
});

test('that of a host that starts and has not read the Lease is in force: its addresses stay while they are probed', async () => {
  const first = await publish(startAgent(), a, b);
  first.agent.keepAddressesUntil(100_000);
  await first.clock.advance(1_000);
  const { ports, files, clock } = first;
  const next = startAgent({ ports, files, clock, isServing: false });
  await next.agent.restore(() => undefined);
  next.agent.setKeepers(['lb1']);
  next.agent.setServing(true);
  for (let passedMs = 0; passedMs < 1_000; passedMs += 100) {
    expect(placed(next)).toEqual(['192.0.2.51', '192.0.2.52']);
    await clock.advance(100);
  }
});

test('an address that another machine has taken since a boot is not in force', async () => {
  const { files } = await publish(startAgent(), a, b);
  const next = startAgent({ files });
  next.ports.setDuplicates(theirs('192.0.2.51'));
  await next.clock.drive(next.agent.restore(() => undefined, new AbortController().signal));
  next.agent.setKeepers(['lb1']);
  await publish(next, a, b);
  await next.clock.advance(60_000);
  expect([...next.ports.held.attracted]).toEqual(['192.0.2.52']);
});

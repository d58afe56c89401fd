import { expect, test } from 'vitest';
import { makeHostPorts } from '../../test/make/host-ports.ts';
import { answer, listener, publish, type RunningAgent, startAgent, table } from '../../test/make/agent-rig.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';

const a = listener('192.0.2.51', 80, 'a');
const b = listener('192.0.2.52', 80, 'b');
const own = listener('192.0.2.1', 80, 'own', { isHostAddress: true });
const mac = '02:00:00:00:00:99';
const answers = (...addresses: readonly { readonly address: { readonly text: string } }[]): Map<string, string> =>
  new Map(addresses.map(({ address }) => [address.text, mac]));
const placed = (rig: RunningAgent): readonly string[] => [...rig.ports.held.placed.keys()].toSorted();
const words = `192.0.2.51 is not on this host: another machine on the LAN (MAC address ${mac}) answers for it, probably host lb1, where furiwake has ended without cleanup or is cut off from the API server`;

/** A new holder of the Lease, which names lb1; `a` is served there. */
async function startBesideLb1(): Promise<RunningAgent> {
  const rig = startAgent();
  rig.ports.setOwn('192.0.2.1');
  rig.ports.setDuplicates(answers(a));
  rig.agent.setKeepers(['lb1']);
  return await publish(rig, a, b, own);
}

test('an address that another machine has is never on this host while the Lease names a host that kept its addresses', async () => {
  const rig = await startBesideLb1();
  expect([placed(rig), answer(rig, a), answer(rig, b), answer(rig, own)]).toEqual([[], 'pending', 'pending', 'ready']);
  await rig.clock.advance(300);
  expect([placed(rig), answer(rig, a), answer(rig, b)]).toEqual([['192.0.2.52'], words, 'ready']);
  expect([...rig.agent.report().duplicates]).toEqual([['192.0.2.51', mac]]);
  await rig.clock.advance(60 * 60_000);
  expect(placed(rig)).toEqual(['192.0.2.52']);
  expect([...rig.ports.held.attracted]).toEqual(['192.0.2.52']);
  expect(rig.log.lines.filter(({ level }) => level === 'error')).toMatchObject([
    { fields: { addresses: [`192.0.2.51 ${mac}`], count: 1 } },
  ]);
});

test('it is added within 10 s after the other machine has ended', async () => {
  const rig = await startBesideLb1();
  await rig.clock.advance(60_000);
  rig.ports.setDuplicates(new Map());
  await rig.clock.advance(10_500);
  expect([placed(rig), answer(rig, a), rig.agent.report().duplicates.size]).toEqual([
    ['192.0.2.51', '192.0.2.52'],
    'ready',
    0,
  ]);
});

test('without the note it is added as soon as no other machine answers, after 3 s at the latest', async () => {
  const gone = await startBesideLb1();
  await gone.clock.advance(60_000);
  gone.agent.setKeepers([]);
  await gone.clock.advance(500);
  expect(placed(gone)).toEqual(['192.0.2.52']);
  gone.ports.setDuplicates(new Map());
  await gone.clock.advance(1_000);
  expect(placed(gone)).toEqual(['192.0.2.51', '192.0.2.52']);
  const foreign = await startBesideLb1();
  await foreign.clock.advance(60_000);
  foreign.agent.setKeepers([]);
  await foreign.clock.advance(4_000);
  expect([placed(foreign), answer(foreign, a)]).toEqual([['192.0.2.51', '192.0.2.52'], 'ready']);
});

test('an address of this host that the other machine gets later is removed, and one of a new Service is served', async () => {
  const rig = await startBesideLb1();
  await rig.clock.advance(60_000);
  const c = listener('192.0.2.53', 80, 'c');
  await publish(rig, a, b, c);
  await rig.clock.advance(300);
  expect([placed(rig), answer(rig, c)]).toEqual([['192.0.2.52', '192.0.2.53'], 'ready']);
  rig.ports.setDuplicates(answers(a, b));
  await rig.clock.advance(300);
  expect(placed(rig)).toEqual(['192.0.2.53']);
  await publish(rig, c);
  await rig.clock.advance(20_000);
  expect([placed(rig), rig.agent.report().duplicates.size]).toEqual([['192.0.2.53'], 0]);
});

test('what this host already serves stays while it is probed, and an address of another machine is not restored', async () => {
  const rig = await startBesideLb1();
  await rig.clock.advance(60_000);
  const clock = virtualClock();
  const next = startAgent({ files: rig.files, clock, ports: makeHostPorts(clock) });
  next.ports.setOwn('192.0.2.1');
  next.ports.setDuplicates(answers(a));
  await next.agent.restore(() => undefined);
  await clock.advance(0);
  expect(placed(next)).toEqual(['192.0.2.52']);
  next.agent.setKeepers(['lb1']);
  await publish(next, a, b, own);
  expect([placed(next), answer(next, b)]).toEqual([['192.0.2.52'], 'ready']);
  await clock.advance(60_000);
  expect([placed(next), [...next.ports.held.attracted]]).toEqual([['192.0.2.52'], ['192.0.2.52']]);
  next.agent.setKeepers([]);
  await clock.advance(4_000);
  expect([placed(next), next.files.get('/listeners.jsonl')]).toEqual([
    ['192.0.2.51', '192.0.2.52'],
    rig.files.get('/listeners.jsonl'),
  ]);
});

test('a host that was withdrawn probes again before it adds an address', async () => {
  const rig = await startBesideLb1();
  await rig.clock.advance(60_000);
  rig.agent.setServing(false);
  await rig.clock.advance(60_000);
  rig.ports.setDuplicates(answers(b));
  rig.ports.held.attracted.clear();
  rig.agent.setServing(true);
  await rig.clock.advance(12_000);
  expect([placed(rig), [...rig.ports.held.attracted]]).toEqual([['192.0.2.51'], ['192.0.2.51']]);
});

test('a LAN that cannot be probed is said, and tried again after growing waits; nothing is added meanwhile', async () => {
  const clock = virtualClock();
  const probed: number[] = [];
  let isBroken = true;
  const ports = Object.assign(makeHostPorts(clock), {
    duplicateProbe: async () => {
      probed.push(clock.monotonic());
      if (isBroken) throw new Error('perl: not found');
      return new Map<string, string>();
    },
  });
  const rig = startAgent({ clock, ports });
  rig.agent.setKeepers(['lb1', 'lb3']);
  await publish(rig, a);
  await publish(rig, a, b);
  await clock.advance(15_000);
  expect(probed).toEqual([0, 1_000, 3_000, 7_000, 15_000]);
  const cause = 'the LAN cannot be probed for addresses that hosts lb1, lb3 may still have: perl: not found';
  expect([placed(rig), rig.agent.troubles()]).toEqual([[], [cause]]);
  expect(answer(rig, b)).toMatch(/^192\.0\.2\.52 is not on this host: .* cannot be probed: perl: not found$/);
  isBroken = false;
  await clock.advance(10_000);
  expect([placed(rig), rig.agent.troubles()]).toEqual([['192.0.2.51', '192.0.2.52'], []]);
  await clock.advance(60 * 60_000);
  expect(probed).toHaveLength(6);
});

test('nothing is probed, and every address is added, while the Lease names no such host', async () => {
  const rig = startAgent();
  rig.ports.setDuplicates(answers(a));
  rig.agent.setKeepers([]);
  await publish(rig, a, b);
  expect([placed(rig), answer(rig, a)]).toEqual([['192.0.2.51', '192.0.2.52'], 'ready']);
  expect(rig.agent.desired()).toEqual(table(a, b));
});

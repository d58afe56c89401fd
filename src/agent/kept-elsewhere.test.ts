import { expect, test } from 'vitest';
import type { DuplicateProbe } from '../ports/advertiser.ts';
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
  expect([rig.agent.leavesAddresses(), rig.agent.report().duplicates.size]).toEqual([true, 0]);
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
  expect([placed(rig), answer(rig, a), rig.agent.leavesAddresses()]).toEqual([
    ['192.0.2.51', '192.0.2.52'],
    'ready',
    false,
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
  expect(foreign.agent.leavesAddresses()).toBe(false);
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
  expect([placed(rig), rig.agent.leavesAddresses()]).toEqual([['192.0.2.53'], false]);
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

test('a probe during which a host is withdrawn counts for nothing', async () => {
  const rig = await startBesideLb1();
  rig.agent.setServing(false);
  await rig.clock.advance(60_000);
  rig.ports.setDuplicates(answers(a, b));
  rig.agent.setServing(true);
  await rig.clock.advance(60_000);
  expect([...rig.ports.held.attracted]).toEqual([]);
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
  await clock.advance(70_000);
  expect(probed.slice(5, 9)).toEqual([23_000, 28_000, 33_000, 38_000]);
  const { length } = probed;
  rig.agent.setKeepers([]);
  await clock.advance(60 * 60_000);
  expect(probed).toHaveLength(length);
});

test('nothing is probed, and every address is added, while the Lease names no such host', async () => {
  const rig = startAgent();
  rig.ports.setDuplicates(answers(a));
  rig.agent.setKeepers([]);
  await publish(rig, a, b);
  expect([placed(rig), answer(rig, a)]).toEqual([['192.0.2.51', '192.0.2.52'], 'ready']);
  expect(rig.agent.desired()).toEqual(table(a, b));
});

test('an address of another machine is not added when the Lease names other hosts', async () => {
  const rig = await startBesideLb1();
  await rig.clock.advance(60_000);
  for (const hosts of [['lb1', 'lb3'], [], ['lb3']]) {
    rig.agent.setKeepers(hosts);
    await publish(rig, a, b, own);
    await rig.clock.advance(1_000);
  }
  expect([...rig.ports.held.attracted]).toEqual(['192.0.2.52']);
  for (let passedMs = 0; passedMs < 5_000; passedMs += 100) {
    await rig.clock.advance(100);
    expect(placed(rig)).toEqual(['192.0.2.52']);
  }
});

test('an address that this host no longer had is probed again before it is added', async () => {
  const rig = await startBesideLb1();
  await rig.clock.advance(60_000);
  await publish(rig, a, own);
  expect(placed(rig)).toEqual([]);
  rig.ports.setDuplicates(answers(a, b));
  rig.ports.held.attracted.clear();
  await publish(rig, a, b, own);
  await rig.clock.advance(60_000);
  expect([placed(rig), [...rig.ports.held.attracted]]).toEqual([[], []]);
});

test.each([false, undefined])(
  'without its LAN (carrier: %s) a host adds no address of another machine',
  async (carrier) => {
    const rig = await startBesideLb1();
    await rig.clock.advance(60_000);
    rig.ports.setCarrier(carrier);
    rig.ports.setDuplicates(new Map());
    await rig.clock.advance(60_000);
    expect([placed(rig), answer(rig, a)]).toEqual([['192.0.2.52'], words]);
    rig.ports.setCarrier(true);
    rig.ports.setDuplicates(answers(a));
    await rig.clock.advance(60_000);
    expect([...rig.ports.held.attracted]).toEqual(['192.0.2.52']);
  },
);

test('a cable that is pulled during a probe: an answer counts, and without one the address is not added', async () => {
  const rig = await startBesideLb1();
  await rig.clock.advance(200);
  rig.ports.setCarrier(false);
  await rig.clock.advance(60_000);
  expect([answer(rig, a), answer(rig, b), [...rig.ports.held.attracted]]).toEqual([words, 'pending', []]);
});

/** An agent whose probes find these, one after the other, and then the last one again; the Lease names lb1. */
async function startProbing(...found: readonly ReadonlyMap<string, string>[]): Promise<RunningAgent> {
  const clock = virtualClock();
  let count = 0;
  const duplicateProbe: DuplicateProbe = async () => found[Math.min(count++, found.length - 1)] ?? answers();
  const rig = startAgent({ clock, ports: Object.assign(makeHostPorts(clock), { duplicateProbe }) });
  rig.agent.setKeepers(['lb1']);
  return await publish(rig, a);
}

test('a machine that misses two probes keeps its address, and one that misses three does not', async () => {
  const [found, silence] = [answers(a), answers()];
  const rig = await startProbing(found, silence, silence, found, silence, silence, found);
  await rig.clock.advance(60_000);
  expect([...rig.ports.held.attracted]).toEqual([]);
  const gone = await startProbing(found, silence, silence, silence, found);
  await gone.clock.advance(2_500);
  expect(placed(gone)).toEqual(['192.0.2.51']);
});

test('an address that the old host gets back is given up within 5 s', async () => {
  const rig = await startProbing(answers(), answers(), answers(a));
  await rig.clock.advance(9_000);
  expect(placed(rig)).toEqual(['192.0.2.51']);
  await rig.clock.advance(1_500);
  expect([placed(rig), rig.agent.leavesAddresses()]).toEqual([[], true]);
  const { sourceRanges, isDraining } = rig.ports.held.steering.listeners.get(a.key) ?? {};
  expect([sourceRanges, isDraining]).toEqual([a.sourceRanges, a.isDraining]); // neighbours may not know it yet
});

test('an address on no LAN of this host is added, because it cannot be probed', async () => {
  const rig = startAgent();
  rig.ports.setCarrier(undefined);
  rig.agent.setKeepers(['lb1']);
  await publish(rig, a);
  await rig.clock.advance(300);
  expect(placed(rig)).toEqual(['192.0.2.51']);
});

test('without an address, or without the note, nothing is probed any more, also where the LAN could not be probed', async () => {
  const clock = virtualClock();
  const duplicateProbe: DuplicateProbe = async () => Promise.reject(new Error('perl: not found'));
  const rig = startAgent({ clock, ports: Object.assign(makeHostPorts(clock), { duplicateProbe }) });
  rig.agent.setKeepers(['lb1']);
  await publish(rig, a);
  await clock.advance(5_000);
  expect(answer(rig, a)).toContain('the LAN cannot be probed: perl: not found');
  await publish(rig);
  await clock.advance(10_000);
  expect(rig.agent.troubles()).toEqual([]);
  await publish(rig, a);
  await clock.advance(60_000);
  rig.agent.setKeepers([]);
  await clock.advance(10_000);
  expect([placed(rig), answer(rig, a), rig.agent.troubles()]).toEqual([['192.0.2.51'], 'ready', []]);
});

import { expect, test } from 'vitest';
import type { DuplicateProbe } from '../ports/advertiser.ts';
import { makeHostPorts } from '../../test/make/host-ports.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { answer, listener, publish, startAgent, table } from '../../test/make/agent-rig.ts';

const a = listener('192.0.2.51', 80, 'a');
const b = listener('192.0.2.52', 80, 'b');
const own = listener('192.0.2.1', 80, 'own', { isHostAddress: true });
const mac = '02:00:00:00:00:99';

/** An agent that has restored `a`, `b` and `own`. `found`: the answers to its probes, one after the other; none: no boot. */
async function afterBoot(...found: readonly (ReadonlyMap<string, string> | Error)[]) {
  const files = new Map<string, string>();
  const first = startAgent({ files });
  first.ports.setOwn('192.0.2.1');
  await publish(first, a, b, own);
  const clock = virtualClock();
  const probed: string[] = [];
  const answers = [...found];
  const probe: DuplicateProbe = async (addresses) => {
    probed.push(`${clock.monotonic()}: ${addresses.map(({ text }) => text).join(' ')}`);
    const next = answers.shift() ?? new Map<string, string>();
    if (next instanceof Error) throw next;
    return next;
  };
  const rig = startAgent({ files, clock, ports: Object.assign(makeHostPorts(clock), { duplicateProbe: probe }) });
  rig.ports.setOwn('192.0.2.1');
  const { signal } = new AbortController();
  await rig.clock.drive(rig.agent.restore(() => undefined, signal));
  await rig.clock.advance(0);
  const placed = (): readonly string[] => [...rig.ports.held.placed.keys()].toSorted();
  return { rig, probed, placed };
}

test('after a boot, an address that another machine has is added with the first table that is published', async () => {
  const { rig, probed, placed } = await afterBoot(new Map([['192.0.2.51', mac]]));
  expect(probed).toEqual(['0: 192.0.2.51 192.0.2.52']);
  expect([placed(), answer(rig, a), answer(rig, b)]).toEqual([['192.0.2.52'], 'pending', 'ready']);
  expect(rig.agent.troubles()).toEqual(['waiting for the Lease: another machine on the LAN answers for 192.0.2.51']);
  expect(rig.log.lines.filter(({ level }) => level === 'error')).toMatchObject([
    { fields: { addresses: [`192.0.2.51 ${mac}`], count: 1 } },
  ]);
  await rig.clock.advance(60 * 60_000);
  expect([placed(), rig.files.get('/listeners.jsonl')]).toEqual([
    ['192.0.2.52'],
    expect.stringContaining('192.0.2.51'),
  ]);
  rig.agent.publish(table(a, b, own));
  await rig.clock.advance(0);
  expect([placed(), rig.agent.troubles()]).toEqual([['192.0.2.51', '192.0.2.52'], []]);
});

test('an address is removed again when another machine answers for it later, before the Lease is read', async () => {
  const { rig, placed } = await afterBoot();
  expect(placed()).toEqual(['192.0.2.51', '192.0.2.52']);
  rig.ports.setDuplicates(new Map([['192.0.2.52', mac]]));
  await rig.clock.advance(0);
  expect(placed()).toEqual(['192.0.2.51']);
  await publish(rig, a, b, own);
  expect(placed()).toEqual(['192.0.2.51', '192.0.2.52']);
});

test('no address is taken from a host that has read the Lease', async () => {
  const { rig, placed } = await afterBoot();
  await publish(rig, a, b, own);
  rig.ports.setDuplicates(new Map([['192.0.2.52', mac]]));
  await rig.clock.advance(60_000);
  expect(placed()).toEqual(['192.0.2.51', '192.0.2.52']);
});

test('a probe that fails is repeated, and no address is added when it fails three times', async () => {
  const broken = new Error('perl: no');
  const second = await afterBoot(broken, broken);
  expect([second.probed.length, second.placed()]).toEqual([3, ['192.0.2.51', '192.0.2.52']]);
  const never = await afterBoot(broken, broken, broken);
  expect([never.probed.map(parseFloat), never.placed()]).toEqual([[0, 200, 600], []]);
});

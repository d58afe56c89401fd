import { expect, test } from 'vitest';
import { makeHostPorts } from '../../test/make/host-ports.ts';
import { answer, listener, publish, type RunningAgent, startAgent } from '../../test/make/agent-rig.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';

const a = listener('192.0.2.51', 80, 'a');
const b = listener('192.0.2.52', 80, 'b');
const own = listener('192.0.2.1', 80, 'own', { isHostAddress: true });
const mac = '02:00:00:00:00:99';
const placed = (rig: RunningAgent): readonly string[] => [...rig.ports.held.placed.keys()].toSorted();

/** A host that has always been alone, and cannot renew its Lease; it serves `a` and `b`. */
async function startCutOff(): Promise<RunningAgent> {
  const rig = startAgent();
  rig.ports.setOwn('192.0.2.1');
  await publish(rig, a, b, own);
  rig.agent.setCutOff(true);
  await rig.clock.advance(60_000);
  expect(placed(rig)).toEqual(['192.0.2.51', '192.0.2.52']);
  return rig;
}
const setCarrier = async ({ ports, clock }: RunningAgent, hasCarrier: boolean): Promise<void> => {
  ports.setCarrier(hasCarrier);
  ports.tellNetwork(hasCarrier ? 'link up' : 'addresses');
  await clock.advance(1_000);
};

test('a host that is cut off has no address on a LAN without a carrier, and adds those that no other machine has got meanwhile', async () => {
  const rig = await startCutOff();
  await setCarrier(rig, false);
  expect(placed(rig)).toEqual([]);
  rig.ports.setDuplicates(new Map([[a.address.text, mac]]));
  await setCarrier(rig, true);
  expect([placed(rig), answer(rig, a), answer(rig, own)]).toEqual([
    ['192.0.2.52'],
    `192.0.2.51 is not on this host: another machine on the LAN (MAC address ${mac}) answers for it, probably another host, which has taken over while this one is cut off from the API server`,
    'ready',
  ]);
  rig.ports.setDuplicates(new Map());
  await rig.clock.advance(12_000);
  expect(placed(rig)).toEqual(['192.0.2.51', '192.0.2.52']);
});

test('a host that is cut off keeps its addresses while the LAN has a carrier, whichever machine answers for them', async () => {
  const rig = await startCutOff();
  rig.ports.setDuplicates(new Map([a, b].map(({ address }) => [address.text, mac])));
  await rig.clock.advance(60 * 60_000);
  expect(placed(rig)).toEqual(['192.0.2.51', '192.0.2.52']);
});

test('with its Lease it has all its addresses at once, also without a carrier', async () => {
  const rig = await startCutOff();
  await setCarrier(rig, false);
  rig.agent.setCutOff(false);
  await rig.clock.advance(0);
  expect(placed(rig)).toEqual(['192.0.2.51', '192.0.2.52']);
  await setCarrier(rig, true);
  await setCarrier(rig, false);
  expect(placed(rig)).toEqual(['192.0.2.51', '192.0.2.52']);
});

test('furiwake that is started again there has the addresses of a LAN that has a carrier by now', async () => {
  const rig = await startCutOff();
  await setCarrier(rig, false);
  await rig.clock.advance(2_000);
  const clock = virtualClock();
  const next = startAgent({ files: rig.files, clock, ports: makeHostPorts(clock) });
  next.ports.setOwn('192.0.2.1');
  next.agent.setCutOff(true);
  await next.agent.restore(() => undefined);
  await clock.advance(0);
  expect(placed(next)).toEqual(['192.0.2.51', '192.0.2.52']);
});

test('a host whose Lease names another one when it is read keeps what it serves until a probe finds that one', async () => {
  const rig = await startCutOff();
  const clock = virtualClock();
  const next = startAgent({ files: rig.files, clock, ports: makeHostPorts(clock) });
  next.ports.setOwn('192.0.2.1');
  next.agent.setCutOff(true);
  await next.agent.restore(() => undefined);
  next.agent.setKeepers(['lb1']);
  next.agent.setCutOff(false);
  await clock.advance(0);
  expect(placed(next)).toEqual(['192.0.2.51', '192.0.2.52']);
  next.ports.setDuplicates(new Map([[a.address.text, mac]]));
  await clock.advance(6_000);
  expect(placed(next)).toEqual(['192.0.2.52']);
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plainElements } from '../../../test/make/plain-elements.ts';
import { makeFakeHost } from '../../../test/make/fake-host.ts';
import { type FakeNft, makeFakeNft } from '../../../test/make/fake-nft.ts';
import { silent } from '../../../test/make/log.ts';
import { addressesOf, listener, tableOf as makeTable } from '../../../test/make/table.ts';
import { type Listening, tableOf, targetOf } from '../../../test/netns/steering-rig.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { emptyTable, type TrafficTable } from '../../core/traffic/table.ts';
import { ExecError } from '../../ports/exec.ts';
import type { Host, Refusals } from '../../ports/host.ts';
import type { Steering, SteeringTarget } from '../../ports/steering.ts';
import { elementKey } from './element.ts';
import { allElements, differenceTo, emptyMirror } from './mirror.ts';
import { makeSteering } from './steering.ts';
import { steeringLayout } from './steering-layout.ts';

const { signal } = new AbortController();

type SteeringOnFake = { readonly nft: FakeNft; readonly steering: Steering };

/** No connection is open. */
const noSockets: Pick<Host, 'endConnections'> = makeFakeHost({ listening: async () => [] });

function makeRig(options: Parameters<typeof makeFakeNft>[0] = {}, clock = virtualClock()): SteeringOnFake {
  const nft = makeFakeNft(options);
  return {
    nft,
    steering: makeSteering({
      host: noSockets,
      isBridgeFiltered: async () => false,
      exec: nft.exec,
      clock,
      log: silent,
      metrics: recordMetrics(),
      lifetime: signal,
    }),
  };
}

/** Refuses elements with such a text. */
const refusing =
  (isBad: (element: string) => boolean) =>
  (elements: ReadonlySet<string>): string | undefined =>
    [...elements].some(isBad) ? 'Error: no such thing' : undefined;

const apply = (steering: Steering, table: Pick<TrafficTable, 'listeners'>): Promise<Refusals<ListenerKey>> =>
  steering.apply(targetOf(table), signal);
const one: Listening = ['192.0.2.1', 80];
const other: Listening = ['192.0.2.2', 80];
const many = (count: number): readonly Listening[] => Array.from({ length: count }, (_, i) => ['192.0.2.1', 100 + i]);
const portsIn = ({ nft }: SteeringOnFake): readonly number[] =>
  [...(nft.elements() ?? [])]
    .flatMap((element) => /^listeners4 192.0.2.1 . (\d+) :/.exec(element)?.[1] ?? [])
    .map(Number)
    .toSorted((a, b) => a - b);

describe('a refusal by nft', () => {
  test('of one listener has the cause, on one line without a position, and the old state stays in force', async () => {
    const { nft, steering } = makeRig({ refuse: refusing((text) => text.includes('192.0.2.2')) });
    await apply(steering, tableOf([one]));
    const refused = await apply(steering, tableOf([one, other]));
    expect([...refused]).toEqual([['192.0.2.2|80|TCP', 'nft: Error: no such thing']]);
    expect([...(nft.elements() ?? [])]).toEqual(['listeners4 192.0.2.1 . 80 : 10000']);
    expect(await apply(steering, tableOf([one]))).toEqual(new Map());
  });

  test('of a change to a listener leaves the listener as it was, until nft accepts the change', async () => {
    let isRefusing = true;
    const isBad = (text: string): boolean => isRefusing && text.startsWith('ranges4');
    const { nft, steering } = makeRig({ refuse: refusing(isBad) });
    await apply(steering, tableOf([one]));
    const restricted = tableOf([['192.0.2.1', 80, ['10.0.0.0/8']]]);
    for (let time = 0; time < 2; time++) expect((await apply(steering, restricted)).size).toBe(1);
    expect([...(nft.elements() ?? [])]).toEqual(['listeners4 192.0.2.1 . 80 : 10000']);
    expect(await steering.audit(signal)).toBe(0);
    isRefusing = false;
    expect(await apply(steering, restricted)).toEqual(new Map());
    expect(nft.elements()?.size).toBe(4);
  });

  test('of a removal is also reported, and the listener stays', async () => {
    const keepsIt = (elements: ReadonlySet<string>): string | undefined =>
      isArmed && !elements.has('listeners4 192.0.2.2 . 80 : 10000') ? 'Error: busy' : undefined;
    let isArmed = false;
    const { nft, steering } = makeRig({ refuse: keepsIt });
    await apply(steering, tableOf([one, other]));
    isArmed = true;
    const refused = await apply(steering, tableOf([['192.0.2.1', 81]]));
    expect([...refused]).toEqual([['192.0.2.2|80|TCP', 'nft: Error: busy']]);
    expect([...(nft.elements() ?? [])].toSorted()).toEqual([
      'listeners4 192.0.2.1 . 81 : 10000',
      'listeners4 192.0.2.2 . 80 : 10000',
    ]);
  });

  test.each([1, 3, 20])('of 200 new listeners (%i): all others are in force, with few transactions', async (count) => {
    const bad = new Set(Array.from({ length: count }, (_, i) => 100 + 10 * i));
    const rig = makeRig({ refuse: refusing((text) => bad.has(Number(/192.0.2.1 . (\d+) :/.exec(text)?.[1]))) });
    await apply(rig.steering, tableOf([['192.0.2.9', 80]]));
    const before = rig.nft.transactions();
    const refused = await apply(rig.steering, tableOf([['192.0.2.9', 80], ...many(200)]));
    expect([...refused.keys()].toSorted()).toEqual(Array.from(bad, (port) => `192.0.2.1|${port}|TCP`).toSorted());
    expect(portsIn(rig)).toEqual(
      many(200)
        .map(([, port]) => port)
        .filter((port) => !bad.has(port)),
    );
    // A refusal for each level of the bisection, some of them twice, and the other half accepted.
    expect(rig.nft.transactions() - before).toBeLessThan(6 + count * 3 * (Math.log2(200 / count) + 2));
  });

  test('of every tenth listener, changed one by one, delays no other', async () => {
    const isBad = (text: string): boolean => / . \d+9 :/.test(text);
    const rig = makeRig({ refuse: refusing(isBad) });
    const present: Listening[] = [];
    const refused = new Set<string>();
    for (const each of many(50)) {
      present.push(each);
      for (const key of (await apply(rig.steering, tableOf(present))).keys()) refused.add(key);
      expect(portsIn(rig)).toEqual(present.map(([, port]) => port).filter((port) => port % 10 !== 9));
    }
    expect(refused.size).toBe(5);
  });

  test('of everything is an error without any change, and everything is in force when nft accepts it again', async () => {
    let isBroken = false;
    const { nft, steering } = makeRig({ refuse: () => (isBroken ? 'Error: out of memory' : undefined) });
    await apply(steering, tableOf([one]));
    isBroken = true;
    const before = nft.elements();
    await expect(apply(steering, tableOf([['192.0.2.1', 81], other]))).rejects.toThrow('out of memory');
    nft.flush();
    await expect(apply(steering, tableOf([one, other]))).rejects.toThrow(ExecError);
    await expect(steering.audit(signal)).rejects.toThrow('out of memory');
    isBroken = false;
    expect(await steering.audit(signal)).toBe(1);
    expect(nft.elements()).toEqual(before);
    expect(await apply(steering, tableOf([one, other]))).toEqual(new Map());
  });

  test('of the table that another program deletes meanwhile blames no listener', async () => {
    let isFlushing = false;
    const rig = makeRig({
      refuse: (elements) => {
        if (isFlushing) rig.nft.flush();
        return refusing((text) => text.includes('192.0.2.2'))(elements);
      },
    });
    await apply(rig.steering, tableOf([one]));
    isFlushing = true;
    await expect(apply(rig.steering, tableOf([one, other, ...many(3)]))).rejects.toThrow(ExecError);
    isFlushing = false;
    expect([...(await apply(rig.steering, tableOf([one, other, ...many(3)]))).keys()]).toEqual(['192.0.2.2|80|TCP']);
  });
});

test('whatever nft refuses, the kernel has all accepted and formerly accepted elements, and the refused listeners are named', async () => {
  const listening = fc
    .record({
      address: fc.constantFrom('192.0.2.1', '192.0.2.2', '2001:db8::1'),
      port: fc.integer({ min: 1, max: 3 }),
      ranges: fc.option(fc.subarray(['10.0.0.0/8', '192.0.2.0/24', '2001:db8::/32'])),
    })
    .map(({ address, port, ranges }): Listening => [
      address,
      port,
      ranges?.filter((range) => range.includes(':') === address.includes(':')),
    ]);
  const step = fc.record({
    listeners: fc.uniqueArray(listening, { selector: ([address, port]) => `${address} ${port}` }),
    vips: fc.subarray(['192.0.2.1', '192.0.2.2']),
    own: fc.subarray(['192.0.2.7', '10.0.0.7', '192.0.2.2']),
    bad: fc.subarray([' . 1 : ', ' . 10.', ' . 192.0.2.1', 'ranges6', ' . 3 : ']),
    isFlushed: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 5 }), fc.boolean(), async (steps, hasSession) => {
      let bad: readonly string[] = [];
      let fresh: ReadonlySet<string> = new Set();
      // The kernel may keep existing elements.
      const refuse = refusing((text) => !fresh.has(text) && bad.some((part) => text.includes(part)));
      const { nft, steering } = makeRig({ refuse, hasSession });
      for (const { listeners, vips, own, bad: nowBad, isFlushed } of steps) {
        const kernel = new Set(nft.elements());
        const before = plainElements(kernel);
        [bad, fresh] = [nowBad, kernel];
        if (isFlushed) nft.flush();
        const target: SteeringTarget = targetOf(tableOf(listeners), addressesOf(...vips), 10_000, addressesOf(...own));
        const refused = await steering.apply(target, signal);
        const repairs = await steering.audit(signal); // a target without a change does not read the kernel
        expect(repairs).toBeLessThanOrEqual(isFlushed ? 1 : 0);
        const wanted = plainElements(
          allElements(steeringLayout, differenceTo(steeringLayout, target, emptyMirror(steeringLayout)).goal).map(
            elementKey,
          ),
        );
        const isRefused = (element: string): boolean => {
          const [, address, port] = /^\w+ (\S+) \. (\d+)/.exec(element) ?? [];
          return refused.has(`${address}|${port}|TCP` as ListenerKey);
        };
        const expected = wanted.filter((key) => !isRefused(key)).concat(before.filter(isRefused));
        expect(plainElements(nft.elements() ?? []).toSorted()).toEqual(expected.toSorted());
        // Only listeners with a refused element are refused.
        const isBad = (key: string): boolean => bad.some((part) => key.includes(part));
        const blamed = wanted.filter(isBad).filter(isRefused);
        expect(new Set(blamed.map((key) => /^\w+ (\S+ \. \d+)/.exec(key)?.[1])).size).toBe(refused.size);
      }
    }),
  );
});

test('a change that the running nft does not execute goes to another process', async () => {
  const { nft, steering } = makeRig({ hasSession: false });
  await apply(steering, tableOf([one]));
  await apply(steering, tableOf([one, other]));
  expect(nft.accepted).toHaveLength(2);
  expect(nft.elements()?.size).toBe(2);
});

test('a clock with fractions of a millisecond gives whole generations, the only ones that nft reads', async () => {
  const { nft, steering } = makeRig({}, virtualClock(2 ** 31 + 41.75));
  await apply(steering, tableOf([one]));
  await apply(steering, tableOf([one, other]));
  expect(nft.accepted[0]).toContain('set generation { type mark; elements = { 0x2a }; }');
  expect(nft.accepted[1]).toContain('generation { 0x2b }');
});

test('a kernel with another state gets the whole table', async () => {
  const { nft, steering } = makeRig();
  await apply(steering, tableOf([one]));
  nft.flush();
  expect(await apply(steering, tableOf([one, other]))).toEqual(new Map());
  expect(nft.elements()?.size).toBe(2);
});

test('an audit repairs and counts what another program changed', async () => {
  const { nft, steering } = makeRig();
  await apply(steering, tableOf([one, other]));
  expect(await steering.audit(signal)).toBe(0);
  nft.change((elements) => elements.delete('listeners4 192.0.2.1 . 80 : 10000'));
  expect(await steering.audit(signal)).toBe(1);
  nft.change((elements) => elements.add('vips4 192.0.2.99'));
  expect(await steering.audit(signal)).toBe(1);
  expect(nft.elements()?.size).toBe(2);
});

test('nothing is written, and nothing repaired, before the first table', async () => {
  const { nft, steering } = makeRig();
  expect(await steering.audit(signal)).toBe(0);
  expect(nft.transactions()).toBe(0);
});

test('a UDP listener is refused and blocks no other', async () => {
  const { nft, steering } = makeRig();
  const udp = listener('192.0.2.2', 53, 30_000, { protocol: 'UDP' });
  const refused = await apply(steering, makeTable([udp, listener('192.0.2.1', 80, 30_000)]));
  expect([...refused.keys()]).toEqual([udp.key]);
  expect([...(nft.elements() ?? [])]).toEqual(['listeners4 192.0.2.1 . 80 : 10000']);
});

test('removing very many source ranges replaces the table instead, which the kernel does faster', async () => {
  const ranges = Array.from({ length: 600 }, (_, i) => `10.${i >> 8}.${i & 255}.1`);
  const { nft, steering } = makeRig();
  await apply(steering, tableOf([['192.0.2.1', 80, ranges]]));
  await apply(steering, tableOf([one]));
  expect(nft.accepted[1]).toContain('delete table');
});

test('the first listener on an own address of the host, and the last one, replace the table with other rules', async () => {
  const { nft, steering } = makeRig();
  const own = addressesOf('192.0.2.1');
  const rules = async (listeners: readonly Listening[]): Promise<boolean> => {
    await steering.apply(targetOf(tableOf(listeners), undefined, undefined, own), signal);
    return nft.accepted.findLast((text) => text.includes('chain'))?.includes('ct direction reply') === true;
  };
  expect(await rules([other])).toBe(false);
  expect(await rules([one, other])).toBe(true);
  expect(await rules([one, ['192.0.2.1', 81]])).toBe(true);
  expect(nft.accepted).toHaveLength(3);
  expect(await rules([other])).toBe(false);
});

test('an emptied table is also emptied in the kernel', async () => {
  const { nft, steering } = makeRig();
  await apply(steering, tableOf([one]));
  await apply(steering, emptyTable);
  expect(nft.elements()?.size).toBe(0);
});

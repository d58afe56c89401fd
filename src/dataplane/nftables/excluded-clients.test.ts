import { describe, expect, test } from 'vitest';
import { type FakeConnection, makeFakeHost } from '../../../test/make/fake-host.ts';
import { makeFakeNft } from '../../../test/make/fake-nft.ts';
import { silent } from '../../../test/make/log.ts';
import { ip } from '../../../test/make/service.ts';
import { addressesOf, listener } from '../../../test/make/table.ts';
import { targetOf } from '../../../test/netns/steering-rig.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { virtualClock } from '../../../test/sim/virtual-clock.ts';
import { closed } from '../../agent/withdrawn.ts';
import { parseRange } from '../../core/ip/range.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Listener } from '../../core/traffic/table.ts';
import { ExecError } from '../../ports/exec.ts';
import { makeSteering } from './steering.ts';

const { signal } = new AbortController();
const vip = '192.0.2.51';
const outside = '203.0.113.9';

/** A listener on `vip`; `ranges`, separated by spaces. */
const web = (ranges?: string, isDraining = false): Listener =>
  listener(vip, 80, 30_080, {
    isDraining,
    sourceRanges: ranges?.split(' ').flatMap((text) => parseRange(text) ?? []),
  });

/** A steering with an open connection from each of `clients`. */
function makeRig(
  clients: readonly string[],
  options: Parameters<typeof makeFakeNft>[0] = {},
): {
  /** Resolves with the clients that are still connected afterwards. */
  readonly apply: (wanted: Listener, ...own: string[]) => Promise<readonly string[]>;
} {
  const clock = virtualClock();
  const connections = new Set<FakeConnection>(
    clients.map((client) => ({ local: web(), isTaken: true, peer: { address: ip(client), port: 50_000 } })),
  );
  const steering = makeSteering({
    host: makeFakeHost({ listening: async () => [], connections }),
    isBridgeFiltered: async () => false,
    exec: makeFakeNft(options).exec,
    clock,
    log: silent,
    metrics: recordMetrics(),
    lifetime: signal,
  });
  void steering.run(signal).catch(() => undefined);
  return {
    apply: async (wanted, ...own) => {
      const target = targetOf({ listeners: PersistentMap.from([[wanted.key, wanted]]) });
      await steering.apply({ ...target, own: addressesOf(...own) }, signal);
      await clock.advance(1_000);
      return Array.from(connections, ({ peer }) => peer.address.text);
    },
  };
}

describe('a connection of the host itself', () => {
  test('survives a start of furiwake if the ranges contain an own address of the host', async () => {
    const { apply } = makeRig([vip, outside]);
    expect(await apply(web('192.0.2.10/32'), '192.0.2.10')).toEqual([vip]);
  });

  test('ends if they contain none', async () => {
    const { apply } = makeRig([vip, outside]);
    expect(await apply(web('192.0.2.11/32'), '192.0.2.10')).toEqual([]);
  });
});

describe('of a drained Service', () => {
  test.each(['198.51.100.0/24', undefined])('that is closed to all, all connections end: from %s', async (ranges) => {
    const { apply } = makeRig(['198.51.100.9']);
    expect(await apply(web(ranges, true))).toEqual(['198.51.100.9']);
    expect(await apply(web('', true))).toEqual([]);
    expect(await apply(web(''))).toEqual([]);
  });
});

describe('of a withdrawn host', () => {
  test('connections continue, also when it starts so', async () => {
    const { apply } = makeRig(['198.51.100.9', outside]);
    expect(await apply(closed(web('198.51.100.0/24', true)))).toEqual(['198.51.100.9', outside]);
  });

  test('that serves again, those of excluded clients end', async () => {
    const { apply } = makeRig(['198.51.100.9', outside]);
    await apply(web());
    expect(await apply(closed(web()))).toEqual(['198.51.100.9', outside]);
    expect(await apply(web('198.51.100.0/24'))).toEqual(['198.51.100.9']);
  });
});

test('a change that nft refuses, also the second time, ends no connection that the ranges in force permit', async () => {
  let refusal: 'all' | 'listener' | undefined;
  const refuse = (elements: ReadonlySet<string>): string | undefined =>
    refusal === 'all' || (refusal === 'listener' && [...elements].some((text) => text.includes('10.0.0.0')))
      ? 'Error: no'
      : undefined;
  const { apply } = makeRig([outside], { refuse });
  expect(await apply(web('203.0.113.0/24'))).toEqual([outside]);
  const narrower = web('10.0.0.0/8');
  refusal = 'all';
  await expect(apply(narrower)).rejects.toThrow(ExecError);
  refusal = 'listener';
  for (let time = 0; time < 2; time++) expect(await apply(narrower)).toEqual([outside]);
  refusal = undefined;
  expect(await apply(narrower)).toEqual([]);
});

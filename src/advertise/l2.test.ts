import { afterAll, expect, test } from 'vitest';
import { addressesOf } from '../../test/make/table.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { untilAborted } from '../async/abort.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import type { Ip } from '../core/ip/ip.ts';
import type { Advertiser } from '../ports/advertiser.ts';
import { makeL2Advertiser } from './l2.ts';

const lifetime = new AbortController();
afterAll(() => lifetime.abort());

/** The link of 192.0.2.0/24; 203.0.113.0/24 is on no link. */
const lan = { name: 'eth0', index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 };

type AdvertiserRig = {
  readonly advertiser: Advertiser;
  readonly clock: ReturnType<typeof virtualClock>;
  readonly end: () => Promise<void>;
  /** Neighbours may have forgotten these. */
  readonly forget: (addresses: Iterable<Ip>) => void;
  /** Another machine announced these. */
  readonly attack: (...texts: readonly string[]) => void;
  /** The announcements: the second, and the number of addresses. */
  readonly sent: readonly string[];
  /** The announcements since the last call. */
  readonly takeSent: () => readonly string[];
  /** The addresses probed on the LAN, as texts. */
  readonly looked: readonly string[];
  /** The addresses of which duplicates matter, as texts. */
  readonly retained: readonly string[];
  link: typeof lan | undefined;
  /** The process is stopped for so long: no timer rings, and time continues. */
  readonly stop: (ms: number) => void;
  /** Whether an announcement of this address by another machine counts. */
  attackable: (text: string) => boolean;
  /** Why no frame can be sent. */
  failure: string | undefined;
  /** The addresses that are being probed. */
  readonly probing: Set<string>;
};

function makeRig(): AdvertiserRig {
  const real = virtualClock();
  let stoppedMs = 0;
  const clock = { ...real, monotonic: () => real.monotonic() + stoppedMs };
  const sent: string[] = [];
  const looked: string[] = [];
  const retained: string[] = [];
  const stale = makeSubscribers<readonly Ip[]>();
  const attacks = makeSubscribers<readonly string[]>();
  const end = new AbortController();
  let running = Promise.resolve();
  const rig: AdvertiserRig = {
    advertiser: makeL2Advertiser({
      sender: {
        announce: async (frames) => {
          if (frames.length > 0) sent.push(`${clock.monotonic() / 1000}: ${frames.length}`);
          return rig.failure === undefined;
        },
        failure: () => rig.failure,
      },
      duplicates: {
        look: (addresses) =>
          void looked.push(
            addresses
              .map(({ text }) => text)
              .toSorted()
              .join(' '),
          ),
        retain: (addresses) => void retained.push([...addresses.keys()].toSorted().join(' ')),
        onDuplicates: () => () => undefined,
        isProbing: (text) => rig.probing.has(text),
        run: untilAborted,
      },
      defence: {
        onAttack: attacks.subscribe,
        run: (mine, until) => {
          rig.attackable = (text) => mine(text) !== undefined;
          return untilAborted(until);
        },
      },
      links: {
        linkOf: ({ text }) => (text.startsWith('203.') ? undefined : rig.link),
        onStaleNeighbours: stale.subscribe,
      },
      clock,
    }),
    clock,
    stop: (ms) => {
      stoppedMs += ms;
    },
    end: () => {
      end.abort();
      return running;
    },
    forget: (addresses) => stale.tell([...addresses]),
    attack: (...texts) => attacks.tell(texts),
    sent,
    takeSent: () => sent.splice(0),
    looked,
    retained,
    link: lan,
    attackable: () => false,
    failure: undefined,
    probing: new Set(),
  };
  running = rig.advertiser.run(AbortSignal.any([lifetime.signal, end.signal]));
  return rig;
}

const both = addressesOf('192.0.2.8', '192.0.2.9');

test('an address is announced at once, and again after 5 and 30 seconds', async () => {
  const { advertiser, clock, sent } = makeRig();
  advertiser.advertise(both);
  await clock.advance(600_000);
  expect(sent).toEqual(['0: 2', '5: 2', '30: 2']);
});

test('while no frame can be sent, the addresses that are still advertised are announced after growing waits', async () => {
  const rig = makeRig();
  const { advertiser, clock, takeSent } = rig;
  rig.failure = 'perl: not found';
  advertiser.advertise(both);
  await clock.advance(100);
  expect(advertiser.trouble()).toBe('addresses cannot be announced: perl: not found');
  advertiser.advertise(addressesOf('192.0.2.8'));
  await clock.advance(600_000);
  expect(takeSent().length).toBeLessThan(20);
  rig.failure = undefined;
  await clock.advance(120_000);
  expect(advertiser.trouble()).toBeUndefined();
  takeSent();
  await clock.advance(600_000);
  expect(takeSent()).toEqual([]);
});

test('an address that another machine announced is announced again and repeated, one that this host lost is not', async () => {
  const { advertiser, clock, attack, takeSent } = makeRig();
  advertiser.advertise(both);
  await clock.advance(60_000);
  takeSent();
  attack('192.0.2.8', '192.0.2.10');
  await clock.advance(600_000);
  expect(takeSent()).toEqual(['60: 1', '65: 1', '90: 1']);
});

test('the answers of another machine to an IPv6 probe do not count as announcements; only addresses that are advertised count', async () => {
  const rig = makeRig();
  rig.advertiser.advertise(addressesOf('192.0.2.8', '2001:db8::8'));
  for (const text of ['192.0.2.8', '2001:db8::8']) rig.probing.add(text);
  const counting = (): readonly string[] => ['192.0.2.8', '192.0.2.9', '2001:db8::8'].filter(rig.attackable);
  expect(counting()).toEqual(['192.0.2.8']);
  rig.probing.clear();
  expect(counting()).toEqual(['192.0.2.8', '2001:db8::8']);
});

test('each address has its own times: a later one does not wait for the times of an earlier one', async () => {
  const { advertiser, clock, sent } = makeRig();
  advertiser.advertise(addressesOf('192.0.2.8'));
  await clock.advance(10_000);
  advertiser.advertise(both);
  await clock.advance(600_000);
  expect(sent).toEqual(['0: 1', '5: 1', '10: 1', '15: 1', '30: 1', '40: 1']);
});

test('addresses that are added one by one are repeated together', async () => {
  const { advertiser, clock, takeSent } = makeRig();
  let addresses = addressesOf();
  await clock.advance(10);
  for (let number = 0; number < 200; number++) {
    addresses = addresses.with(addressesOf(`192.0.2.${number}`));
    advertiser.advertise(addresses);
    await clock.advance(1);
  }
  takeSent();
  await clock.advance(600_000);
  expect(takeSent()).toEqual(['5.5: 200', '30.5: 200']);
});

test('a known address is not announced, and a removed one is not repeated', async () => {
  const { advertiser, clock, sent, retained } = makeRig();
  advertiser.advertise(both);
  advertiser.advertise(addressesOf('192.0.2.8', '192.0.2.9'));
  advertiser.advertise(addressesOf('192.0.2.8'));
  expect(retained.at(-1)).toBe('192.0.2.8');
  await clock.advance(60_000);
  expect(sent).toEqual(['0: 2', '5: 1', '30: 1']);
});

test('a process that was stopped repeats no announcement when it continues: another host may have the addresses by then', async () => {
  const { advertiser, clock, stop, takeSent } = makeRig();
  advertiser.advertise(both);
  await clock.advance(6_000);
  takeSent();
  stop(25_000);
  await clock.advance(25_000); // the repeat of second 30 is due for 26 s
  advertiser.advertise(addressesOf('192.0.2.9'));
  await clock.advance(3_000);
  expect(takeSent()).toEqual([]);
  await clock.advance(600_000);
  expect(takeSent()).toEqual(['60: 1']);
});

test('addresses that neighbours may have forgotten are announced like new ones, if they are advertised', async () => {
  const { advertiser, clock, forget, takeSent } = makeRig();
  advertiser.advertise(both);
  await clock.advance(60_000);
  takeSent();
  forget(addressesOf('192.0.2.9', '192.0.2.77').values());
  await clock.advance(60_000);
  expect(takeSent()).toEqual(['60: 1', '65: 1', '90: 1']);
});

test('an advertiser that has ended announces nothing', async () => {
  const { advertiser, end, forget, takeSent } = makeRig();
  advertiser.advertise(both);
  await end();
  takeSent();
  forget(both.values());
  expect(takeSent()).toEqual([]);
});

test('a link flap causes no storm: the announcement replaces the scheduled repeats', async () => {
  const { advertiser, clock, forget, takeSent } = makeRig();
  advertiser.advertise(both);
  for (let second = 0; second < 20; second++) {
    await clock.advance(1_000);
    forget(both.values());
  }
  expect(takeSent()).toHaveLength(21);
  await clock.advance(600_000);
  expect(takeSent()).toEqual(['25: 2', '50: 2']);
});

test('an address whose link does not exist yet is announced by the next repeat', async () => {
  const rig = makeRig();
  rig.link = undefined;
  rig.advertiser.advertise(both);
  rig.link = lan;
  await rig.clock.advance(6_000);
  expect(rig.sent).toEqual(['5: 2']);
});

test('each announcement also starts a search for other machines with the address', async () => {
  const { advertiser, clock, looked } = makeRig();
  advertiser.advertise(both);
  await clock.advance(10_000);
  advertiser.advertise(addressesOf('192.0.2.9'));
  await clock.advance(60_000);
  expect(looked).toEqual(['192.0.2.8 192.0.2.9', '192.0.2.8 192.0.2.9', '192.0.2.9']);
});

test('a hundred addresses are searched for again each five minutes, in turn', async () => {
  const { advertiser, clock, looked } = makeRig();
  const texts = Array.from({ length: 150 }, (_, index) => `192.0.2.${100 + index}`);
  advertiser.advertise(addressesOf(...texts));
  await clock.advance(299_000);
  const before = looked.length;
  await clock.advance(901_000);
  const [first, rest] = [texts.slice(0, 100).join(' '), texts.slice(100).join(' ')];
  expect(looked.slice(before)).toEqual([first, rest, first, rest]);
  advertiser.advertise(addressesOf());
  await clock.advance(300_000);
  expect(looked.slice(before + 4).filter((found) => found !== '')).toEqual([]);
});

test('an address on no link of this host is left to the routers', async () => {
  const { advertiser, clock, sent } = makeRig();
  advertiser.advertise(addressesOf('203.0.113.1'));
  await clock.advance(60_000);
  expect(sent).toEqual([]);
});

import { afterAll, expect, test } from 'vitest';
import { ip } from '../../test/make/service.ts';
import { addressesOf } from '../../test/make/table.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import type { Exec } from '../ports/exec.ts';
import type { DuplicateProbe } from '../ports/advertiser.ts';
import { makeDuplicateProbe, makeDuplicateWatch } from './duplicates.ts';

const lifetime = new AbortController();
afterAll(() => lifetime.abort());
const { signal } = lifetime;
const [a, b] = [ip('192.0.2.51'), ip('192.0.2.52')];
const mac = '02:00:00:00:00:99';

/** A watch with a probe whose answers the test sets. */
function makeRig(probe: DuplicateProbe) {
  const clock = virtualClock();
  const log = recordLog();
  const watch = makeDuplicateWatch({ probe, clock, log });
  void watch.run(signal).catch(() => undefined); // it ends with the test
  return { watch, clock, logged: () => log.lines.map(({ message }) => message) };
}

test('a machine with the same address is logged once while it has it, and again when it returns or another one appears', async () => {
  let answer = new Map([[a.text, mac]]);
  const { watch, clock, logged } = makeRig(async () => answer);
  const look = async (): Promise<number> => {
    watch.look([a, b]);
    await clock.advance(1);
    return logged().length;
  };
  expect([await look(), await look()]).toEqual([1, 1]);
  expect(logged()).toEqual(['192.0.2.51 is also in use by another machine on the LAN; remove it there']);
  answer = new Map();
  expect(await look()).toBe(1);
  answer = new Map([[a.text, mac]]);
  expect(await look()).toBe(2);
  answer = new Map([[a.text, '02:00:00:00:00:77']]);
  expect(await look()).toBe(3);
});

test('an address is being probed until a second after the probe, also one that fails', async () => {
  for (const ends of [async () => new Map<string, string>(), () => Promise.reject(new Error('perl: no'))]) {
    const { watch, clock } = makeRig(async () => {
      await clock.sleep(250, signal);
      return ends();
    });
    watch.look([a]);
    await clock.advance(10);
    expect([watch.isProbing(a.text), watch.isProbing(b.text)]).toEqual([true, false]);
    await clock.advance(1_200);
    expect(watch.isProbing(a.text)).toBe(true);
    await clock.advance(100);
    expect(watch.isProbing(a.text)).toBe(false);
  }
});

test('the duplicates are reported while they last, and only of the addresses that this host still has', async () => {
  let answer = new Map([
    [a.text, mac],
    [b.text, mac],
  ]);
  let gate = Promise.resolve();
  const { watch, clock } = makeRig(async () => {
    await gate;
    return answer;
  });
  const changes: ReadonlyMap<string, string>[] = [];
  const end = watch.onDuplicates((duplicates) => void changes.push(duplicates));
  const look = async (): Promise<void> => {
    watch.look([a, b]);
    await clock.advance(1);
  };
  await look();
  await look();
  expect(changes).toEqual([answer]);
  watch.retain(addressesOf(a.text));
  watch.retain(addressesOf(a.text));
  expect(changes.slice(1)).toEqual([new Map([[a.text, mac]])]);

  const open = Promise.withResolvers<void>();
  gate = open.promise;
  await look();
  watch.retain(addressesOf(a.text)); // during the probe
  open.resolve();
  await clock.advance(1);
  expect(changes.at(-1)).toEqual(new Map([[a.text, mac]]));

  answer = new Map();
  await look();
  expect(changes.at(-1)).toEqual(new Map());
  end();
  answer = new Map([[b.text, mac]]);
  await look();
  expect(changes).toHaveLength(3);
});

test('addresses that are added during a probe are probed together afterwards', async () => {
  const probed: string[] = [];
  const gate = Promise.withResolvers<void>();
  const { watch, clock } = makeRig(async (addresses) => {
    probed.push(addresses.map(({ text }) => text).join(' '));
    await gate.promise;
    return new Map();
  });
  watch.look([a]);
  await clock.advance(1);
  watch.look([a]);
  watch.look([b]);
  watch.look([]);
  gate.resolve();
  await clock.advance(1);
  expect(probed).toEqual(['192.0.2.51', '192.0.2.51 192.0.2.52']);
});

test('a probe that fails is logged once while it lasts, and does not end the watch', async () => {
  let attempts = 0;
  const { watch, clock, logged } = makeRig(() => {
    attempts++;
    return Promise.reject(new Error('perl: no such file'));
  });
  for (let count = 0; count < 5; count++) {
    watch.look([a]);
    await clock.advance(1);
  }
  expect([attempts, logged()]).toEqual([5, ['looking for duplicate addresses failed; retrying']]);
});

/** A perl that has sent, receives these frames, and then ends if `ends` is set; `ip` knows one interface. */
function makePerl(frames: readonly string[], ends: boolean): Exec {
  return {
    run: async () => ({ stdout: JSON.stringify([{ address: '02:00:00:00:00:01' }]), stderr: '' }),
    spawn: () => ({
      pid: 1,
      write: async () => undefined,
      lines: (async function* () {
        yield* ['sent', ...frames];
        if (!ends) await new Promise(() => undefined); // endless
      })(),
      takeErrors: async () => 'packet socket: Operation not permitted',
      exited: Promise.resolve(1),
      [Symbol.asyncDispose]: async () => undefined,
    }),
  };
}
const reply = (from: string, address: string): string =>
  `02000000000102000000009908060001080006040002${from.replaceAll(':', '')}${address}020000000001${'00'.repeat(4)}`;

const probeWith = (exec: Exec, clock = virtualClock()): { probe: DuplicateProbe; clock: typeof clock } => ({
  probe: makeDuplicateProbe({
    exec,
    clock,
    links: { linkOf: () => ({ name: 'eth0', index: 2, mac: '02:00:00:00:00:01', mtu: 1_500 }) },
  }),
  clock,
});

test('answers within a quarter of a second count; those for other addresses and those of this host do not', async () => {
  const frames = [
    reply(mac, 'c0000233'),
    reply(mac, 'c0000299'), // not asked for
    reply('02:00:00:00:00:01', 'c0000234'), // another interface of this host, on the same LAN
    'nonsense',
  ];
  const { probe, clock } = probeWith(makePerl(frames, false));
  expect([...(await clock.drive(probe([a, b], signal)))]).toEqual([['192.0.2.51', mac]]);
  expect(clock.monotonic()).toBe(250);
});

test('a perl that ends is an error with its message', async () => {
  const { probe } = probeWith(makePerl([], true));
  await expect(probe([a], signal)).rejects.toThrow('packet socket: Operation not permitted');
});

test('a perl that does not read its input is an error, not a wait without end', async () => {
  const perl = makePerl([], false);
  const stuck: Exec = {
    ...perl,
    spawn: (...args) => ({ ...perl.spawn(...args), write: () => new Promise(() => undefined) }),
  };
  const { probe, clock } = probeWith(stuck);
  await expect(clock.drive(probe([a], signal))).rejects.toThrow('deadline');
});

test('an aborted call returns at once', async () => {
  const { probe } = probeWith(makePerl([], false));
  await expect(probe([a], AbortSignal.abort(new Error('given up')))).rejects.toThrow('given up');
});

test('addresses on no LAN of this host are not probed', async () => {
  const exec = makePerl([], true);
  const probe = makeDuplicateProbe({ exec, clock: virtualClock(), links: { linkOf: () => undefined } });
  expect([...(await probe([a], signal))]).toEqual([]);
});

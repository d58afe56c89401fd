import { describe, expect, test } from 'vitest';
import { makeNatMachine, type NatMachine } from '../../../test/make/nat-machine.ts';
import { listener, natListener, node, tableOf } from '../../../test/make/table.ts';
import { serviceKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Listener, TrafficTable } from '../../core/traffic/table.ts';
import type { Nat } from '../../ports/nat.ts';

const { signal } = new AbortController();
const nodes = [node('n1', '192.0.2.11', '2001:db8::11'), node('n2', '192.0.2.12', '2001:db8::12')];
const [a, b] = [natListener('203.0.113.1', 53, 30_053), natListener('203.0.113.2', 53, 30_054)];
const six = natListener('2001:db8:f::1', 53, 30_053);
const tenMinutes = 600_000;

const table = (...listeners: readonly Listener[]): TrafficTable => tableOf(listeners, nodes);
const apply = (nat: Nat, ...listeners: readonly Listener[]): ReturnType<Nat['apply']> =>
  nat.apply(table(...listeners), signal);
/** The addresses of the listeners in the kernel. */
const served = ({ nft }: NatMachine): readonly string[] =>
  [...(nft.elements() ?? [])].flatMap((key) => /^listeners. (\S+)/.exec(key)?.[1] ?? []).toSorted();
const takers = ({ nft }: NatMachine): readonly string[] => [
  ...new Set([...(nft.elements() ?? [])].flatMap((key) => /^slots4 .* : (.+)$/.exec(key)?.[1] ?? [])),
];
const logged = ({ log }: NatMachine): readonly string[] => log.lines.map(({ message }) => message);

/** Runs its loops while `work` is done. */
async function whileRunning(machine: NatMachine, work: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const ended = machine.nat.run(stop.signal).catch(() => undefined); // only that it was aborted
  await work();
  stop.abort();
  await ended;
}

test('the table follows the verdicts on nodes, without a change of the listeners', async () => {
  const machine = makeNatMachine();
  await apply(machine.nat, a);
  await whileRunning(machine, async () => {
    expect(takers(machine).toSorted()).toEqual(['192.0.2.11', '192.0.2.12']);
    machine.setHealth('n1', 'silent');
    await machine.clock.advance(0);
    expect(takers(machine)).toEqual(['192.0.2.12']);
  });
});

test('a listener without endpoints has no backend until it has some; the others keep theirs', async () => {
  const machine = makeNatMachine();
  const backends = (): readonly string[] =>
    [...(machine.nft.elements() ?? [])].flatMap(
      (key) => /^listeners4 (\S+) .* : (\S+)$/.exec(key)?.slice(1).join(' ') ?? [],
    );
  const wanted = table(a, b);
  const gaps = (...keys: readonly Listener[]): TrafficTable['withoutEndpoints'] =>
    PersistentMap.from(keys.map(({ key, uid }) => [key, uid]));
  await machine.nat.apply({ ...wanted, withoutEndpoints: gaps() }, signal);
  expect(backends().toSorted()).toEqual(['203.0.113.1 0:1', '203.0.113.2 0:1']);
  await machine.nat.apply({ ...wanted, withoutEndpoints: gaps(a) }, signal);
  expect(backends().toSorted()).toEqual(['203.0.113.1 0:0', '203.0.113.2 0:1']);
  await machine.nat.apply({ ...wanted, withoutEndpoints: gaps() }, signal);
  expect(backends().toSorted()).toEqual(['203.0.113.1 0:1', '203.0.113.2 0:1']);
});

describe('an nft that accepts no change', () => {
  test('is asked after growing waits, whatever the health module says, and is logged once', async () => {
    const machine = makeNatMachine();
    await apply(machine.nat, a);
    await whileRunning(machine, async () => {
      machine.broken.add('nft');
      const before = machine.nft.transactions();
      for (let elapsedMs = 0; elapsedMs < tenMinutes; elapsedMs += 1_000) {
        machine.setHealth('n1', elapsedMs % 2_000 === 0 ? 'silent' : 'up');
        await machine.clock.advance(1_000);
      }
      expect(machine.nft.transactions() - before).toBeLessThan(100); // about 25 attempts
      machine.broken.clear();
      machine.setHealth('n1', 'silent');
      await machine.clock.advance(30_000);
      expect(takers(machine)).toEqual(['192.0.2.12']);
    });
    const what = 'translating flows to the nodes that are up';
    expect(new Set(logged(machine))).toEqual(new Set([`${what} failed; retrying`, `${what} works again`]));
    expect(logged(machine).length).toBeLessThan(8); // with reminders at growing intervals
  });

  test('fails each call, also one with the same table, until it accepts it', async () => {
    const { nat, broken, ...machine } = makeNatMachine();
    const wanted = table(a, b);
    await apply(nat, a);
    broken.add('nft');
    for (let time = 0; time < 2; time++) await expect(nat.apply(wanted, signal)).rejects.toThrow('not permitted');
    broken.clear();
    expect(await nat.apply(wanted, signal)).toEqual(new Map());
    expect(served({ nat, broken, ...machine })).toEqual(['203.0.113.1', '203.0.113.2']);
  });

  test('at a change of a verdict: the next call with the same table programs it', async () => {
    const machine = makeNatMachine();
    const wanted = table(a);
    await machine.nat.apply(wanted, signal);
    await whileRunning(machine, async () => {
      machine.broken.add('nft');
      machine.setHealth('n1', 'silent');
      await machine.clock.advance(0);
      machine.broken.clear();
      await machine.nat.apply(wanted, signal);
      expect(takers(machine)).toEqual(['192.0.2.12']);
    });
  });
});

describe('conntrack that cannot be asked', () => {
  test('is asked after growing waits, whatever is applied meanwhile, and is logged once', async () => {
    const machine = makeNatMachine();
    const { nat, broken, clock, sweeps } = machine;
    const next = natListener('203.0.113.1', 53, 30_053, { service: serviceKey('test', 'next') });
    await apply(nat, a);
    await whileRunning(machine, async () => {
      broken.add('conntrack');
      sweeps.length = 0;
      for (let elapsedMs = 0; elapsedMs < tenMinutes; elapsedMs += 1_000) {
        expect([...(await apply(nat, b, next)).keys()]).toEqual([next.key]);
        expect(await apply(nat, b)).toEqual(new Map());
        await clock.advance(1_000);
      }
      expect(sweeps.length).toBeGreaterThan(20);
      expect(sweeps.length).toBeLessThan(30);
      broken.clear();
      await clock.advance(30_000);
      expect(await apply(nat, b, next)).toEqual(new Map());
    });
    expect(new Set(logged(machine))).toEqual(
      new Set(['ending stale flows of nat failed; retrying', 'ending stale flows of nat works again']),
    );
    expect(logged(machine).length).toBeLessThan(8);
  });

  test('is asked the same again: a sweep that failed has not seen the change', async () => {
    const machine = makeNatMachine();
    const { nat, broken, clock, sweeps } = machine;
    await apply(nat, a, b);
    await whileRunning(machine, async () => {
      broken.add('conntrack');
      await apply(nat, b);
      const failed = sweeps.at(-1);
      expect(failed).toMatch(/^changed 17 cb007101 53$/m); // without a target: it is gone
      broken.clear();
      await clock.advance(200);
      expect(sweeps.slice(-2)).toEqual([failed, failed]);
      await clock.advance(tenMinutes);
      expect(sweeps.slice(-2)).toEqual([failed, failed]);
    });
  });

  test('keeps an empty table with its guard, until the flows have ended', async () => {
    const machine = makeNatMachine();
    const { nat, broken, clock, nft, switches } = machine;
    await apply(nat, a);
    await whileRunning(machine, async () => {
      broken.add('conntrack');
      expect(await apply(nat)).toEqual(new Map());
      expect([...(nft.elements() ?? [])]).toEqual(['guarded4 "eth0"']);
      broken.clear();
      await clock.advance(200);
      expect([nft.elements(), switches]).toEqual([undefined, ['on  eth0', 'off  eth0']]);
    });
  });
});

describe('forwarding', () => {
  test('is on for the families in use, and goes off for the one that loses its last listener', async () => {
    const { nat, nft, switches } = makeNatMachine();
    await apply(nat, a, six);
    expect(switches).toEqual(['on 1 eth0']);
    await apply(nat, a);
    expect(switches.slice(1)).toEqual(['off 1']);
    expect([...(nft.elements() ?? [])].filter((key) => key.startsWith('guarded'))).toEqual(['guarded4 "eth0"']);
    await apply(nat, six);
    expect(switches.slice(2)).toEqual(['on 1 eth0', 'off  eth0']);
    await apply(nat);
    expect(switches.slice(4)).toEqual(['off 1']);
  });

  test('is switched on at once on an interface that was made again', async () => {
    const machine = makeNatMachine();
    const { nat, switches } = machine;
    machine.setLinks('2 eth0');
    await apply(nat, a);
    await whileRunning(machine, async () => {
      nat.noteFacts();
      await machine.clock.advance(0);
      expect(switches).toEqual(['on  eth0']);
      machine.setLinks('3 eth0');
      nat.noteFacts();
      await machine.clock.advance(0);
      expect(switches).toEqual(['on  eth0', 'on  eth0']);
    });
    await apply(nat);
    machine.setLinks('4 eth0');
    await whileRunning(machine, async () => {
      nat.noteFacts();
      await machine.clock.advance(0);
    });
    expect(switches.slice(2)).toEqual(['off  eth0']);
  });

  test('that cannot be switched on refuses a new listener; others stay, and one that is deleted goes', async () => {
    const machine = makeNatMachine();
    const { nat, broken } = machine;
    await apply(nat, a, b);
    broken.add('forwarding');
    const refusals = [[six.key, 'forwarding read: forwarding: Operation not permitted']];
    expect([...(await apply(nat, a, six))]).toEqual(refusals);
    expect(served(machine)).toEqual(['203.0.113.1']);
    expect([...(await apply(nat, six))]).toEqual(refusals);
    expect(served(machine)).toEqual([]);
    broken.clear();
    expect(await apply(nat, six)).toEqual(new Map());
  });

  test('that cannot be switched on says nothing of a listener that HAProxy has by now', async () => {
    const { nat, broken } = makeNatMachine();
    await apply(nat, natListener('203.0.113.3', 80, 30_080, { protocol: 'TCP' }));
    broken.add('forwarding');
    const moved = listener('203.0.113.3', 80, 30_080, { sourceRanges: [] });
    expect([...(await apply(nat, moved, six)).keys()]).toEqual([six.key]);
  });

  test('that could never be switched on: each listener is refused, and leaves', async () => {
    const machine = makeNatMachine();
    const { nat, broken } = machine;
    broken.add('forwarding');
    expect(new Set((await apply(nat, a, b)).keys())).toEqual(new Set([a.key, b.key]));
    expect([...(await apply(nat, a)).keys()]).toEqual([a.key]);
    expect(await apply(nat)).toEqual(new Map());
    expect(served(machine)).toEqual([]);
  });

  test('that cannot be read leaves the table of an earlier process as it is', async () => {
    const machine = makeNatMachine();
    await apply(machine.nat, a, b);
    expect(served(machine)).toHaveLength(2);
    const later = makeNatMachine(machine.nft);
    later.broken.add('forwarding');
    await expect(apply(later.nat, a)).rejects.toThrow('not permitted');
    expect(served(machine)).toHaveLength(2);
  });
});

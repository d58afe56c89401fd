import { settlesWithin } from '../async/settles-within.ts';
import { makeTrouble } from '../async/trouble.ts';
import { type Ip, parseIp } from '../core/ip/ip.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { AddressExpiry } from '../ports/address-expiry.ts';
import { usualCallMs } from '../ports/call-times.ts';
import type { Clock } from '../ports/clock.ts';
import type { Exec } from '../ports/exec.ts';
import type { Addresses } from '../ports/host.ts';
import type { Placement, PlacementRecord } from '../ports/placement.ts';
import type { Log } from '../ports/log.ts';
import { isOurInterface, readInterfaces } from './interfaces.ts';
import { type LifetimeSeconds, makeKernel } from './kernel.ts';
import type { Network } from './network.ts';
import { withoutOrdinary } from './view.ts';
import { emptiedBy, expiring, missingFrom, placesFor, placesIn, strayedFrom, unmarkedIn } from './places.ts';

/*
 * Which interface gets an address, and why
 *
 *   IPv4   /32 on furiwake0. The kernel answers ARP for it on every link (unless net.ipv4.conf.*.arp_ignore is 1 or
 *          more there: then neighbours cannot resolve it). Scope link: the host never uses it as source of its own
 *          connections.
 *   IPv6   /128 on the interface in whose subnet it is, because the kernel answers neighbour solicitations only there;
 *          otherwise on furiwake0. preferred_lft 0: not a source either. nodad: usable at once.
 *
 * furiwake0 is a dummy interface, or a bridge without ports if the kernel has no dummy driver. Every address on it is
 * furiwake's; an IPv6 address elsewhere has the metric of furiwake (`markMetric`). After 500 addresses furiwake1
 * follows, and so on: for each address that is added, the kernel checks all others of the interface (10,000 on one: 2.6
 * s; on twenty: 0.2 s). An address is recorded before it is added, if the disk accepts it. An address that the host has
 * elsewhere is the host's own and is never touched.
 *
 * While another host may take over, an address has a lifetime (`keepUntil`): the kernel removes it unless furiwake extends it.
 *
 * After a reboot furiwake may be faster than DHCP clients and router advertisements. So each audit releases addresses
 * that another program has configured meanwhile, and moves an IPv6 address to the interface that now has its subnet.
 */

/**
 * Adds addresses to this host. Its functions throw `ExecError` if `ip` fails, and the error of the record file if it cannot be read;
 * another call completes the work. Its programs end with `lifetime`.
 */
export function makePlacement(deps: {
  readonly exec: Exec;
  readonly network: Network;
  readonly clock: Clock;
  readonly log: Log;
  readonly lifetime: AbortSignal;
}): Placement & AddressExpiry {
  const { exec, network, clock, log } = deps;
  const { state, read, ensureRead, isDoubtful, write, begin, settle, inTurn } = network.memory;
  const kernel = makeKernel(deps);
  const recordTrouble = makeTrouble({ what: 'saving the record of addresses', log, clock });
  /** The argument of the last `add` or `audit`: the next `add` handles only the difference. */
  let wantedBefore: Addresses = PersistentMap.empty();
  /** What the last `remove` left: every recorded address was wanted. */
  let cleaned: { readonly record: PlacementRecord; readonly wanted: Addresses } = {
    record: PersistentMap.empty(),
    wanted: PersistentMap.empty(),
  };
  let keptUntilMs: number | undefined;

  const lifetime = (): LifetimeSeconds =>
    keptUntilMs === undefined ? 'forever' : Math.max(1, Math.ceil((keptUntilMs - clock.monotonic()) / 1000));

  /** The kernel may keep no address: another host may have it by now. */
  const isOver = (): boolean => keptUntilMs !== undefined && clock.monotonic() >= keptUntilMs;

  let isSaving = false;
  const save = async (record: PlacementRecord): Promise<void> => {
    isSaving = true;
    try {
      await write(record);
      recordTrouble.over();
    } catch (error) {
      recordTrouble.failed(error);
    } finally {
      isSaving = false;
    }
  };

  /**
   * A disk that is full or hangs must stop neither a removal, an addition nor the lifetimes: furiwake finds what it added without the
   * record (`sortAddresses`). While a save is under way, the next audit saves later changes.
   */
  const saveRecord = async (signal: AbortSignal, record = state().record): Promise<void> => {
    if (isSaving || (await settlesWithin(save(record), usualCallMs, clock, signal))) return;
    recordTrouble.failed('the disk of the state directory does not answer');
  };

  /** Records addresses and adds them. Resolves with those that the kernel accepted. */
  const put = async (missing: readonly Ip[], signal: AbortSignal): Promise<readonly Ip[]> => {
    if (missing.length === 0) return [];
    const before = state();
    const record = before.record.with(placesFor(missing, before));
    if (record !== before.record) await saveRecord(signal, record);
    begin(record);
    const places = placesIn(record, missing);
    const used = [...new Set(places.map(({ on }) => on).filter(isOurInterface))];
    const links = new Map(before.interfaces.map(({ name, isUp }) => [name, isUp]));
    const absent = used.filter((name) => !links.has(name));
    const down = used.filter((name) => links.get(name) === false);
    await kernel.setUp({ missing: absent, down }, signal);
    const interfaces =
      absent.length + down.length > 0
        ? withoutOrdinary(await readInterfaces(exec, signal), before.present)
        : before.interfaces;
    const refused = await kernel.add(places, lifetime(), signal);
    const added = places.filter(({ address }) => !refused.has(address.text));
    const next = {
      ...state(),
      interfaces,
      present: before.present.with(added.map(({ address, on }) => [address.text, on])),
    };
    settle(next, refusedAfter(missing, refused));
    if (added.length > 0)
      log.info({ addresses: shown(added.map(({ address }) => address.text)) }, 'addresses added to this host');
    return added.map(({ address }) => address);
  };

  const refusedAfter = (tried: readonly Ip[], now: ReadonlyMap<string, string>): ReadonlyMap<string, string> => {
    const before = network.addresses().refused;
    const fresh = [...now].filter(([text, words]) => before.get(text) !== words);
    if (fresh.length > 0)
      log.warn({ addresses: shown(fresh.map((parts) => parts.join(' '))) }, 'the kernel refused addresses; retrying');
    const rest = new Map(before);
    for (const { text } of tried) rest.delete(text);
    return new Map([...rest, ...now]);
  };

  /** Removes addresses of furiwake, and its interfaces that have none left. */
  const take = async (gone: readonly string[], signal: AbortSignal): Promise<void> => {
    const before = state();
    const without = gone.map((text) => [text, undefined] as const);
    const record = before.record.with(without);
    const places = placesIn(
      before.present,
      gone.flatMap((text) => parseIp(text) ?? []),
    );
    const empty = emptiedBy(record, before.interfaces);
    begin(record);
    try {
      await kernel.remove(places, empty, signal);
    } catch (error) {
      begin(before.record);
      throw error;
    }
    await saveRecord(signal);
    const refused = new Map(network.addresses().refused);
    for (const text of gone) refused.delete(text);
    wantedBefore = wantedBefore.with(without); // `add` adds them again when they are wanted
    const interfaces = before.interfaces.filter(({ name }) => !empty.includes(name));
    settle({ ...state(), interfaces, present: before.present.with(without) }, refused);
    if (places.length > 0) log.info({ addresses: shown(gone) }, 'addresses removed from this host');
  };

  /** Moves IPv6 addresses to the interface on which neighbours resolve them. Resolves with the moved ones. */
  const move = async (strayed: readonly Ip[], signal: AbortSignal): Promise<readonly Ip[]> => {
    if (strayed.length === 0) return [];
    const { present } = state();
    const moved = new Set(await put(strayed, signal));
    const stuck = strayed.filter((address) => !moved.has(address));
    const { record, interfaces } = state();
    const left = record.with(stuck.map(({ text }) => [text, present.get(text)]));
    begin(left);
    await kernel.remove(placesIn(present, [...moved]), emptiedBy(left, interfaces), signal);
    await read(signal);
    return [...moved];
  };

  const add = async (wanted: Addresses, candidates: Iterable<string>, signal: AbortSignal): Promise<readonly Ip[]> => {
    if (isOver()) return []; // the next one handles the difference
    const added = await put(missingFrom(state(), wanted, candidates), signal);
    wantedBefore = wanted;
    return added;
  };

  const audit = async (wanted: Addresses, signal: AbortSignal): Promise<readonly Ip[]> => {
    await read(signal);
    const { own, record } = state();
    const doubles = [...own.keys()].filter((text) => record.has(text));
    if (doubles.length > 0) {
      log.info({ addresses: shown(doubles) }, 'the host has these addresses itself now; leaving them to it');
      await take(doubles, signal);
    }
    const moved = await move(strayedFrom(state()), signal);
    await kernel.extend(placesIn(state().present, unmarkedIn(state())), lifetime(), signal);
    const down = state().interfaces.flatMap(({ name, isUp }) => (isOurInterface(name) && !isUp ? name : []));
    await kernel.setUp({ missing: [], down }, signal);
    const added = await add(wanted, wanted.keys(), signal);
    await saveRecord(signal);
    return [...moved, ...added];
  };

  return {
    add: (wanted, signal) =>
      inTurn(async () => {
        const wasRead = await ensureRead(signal);
        return await add(wanted, wasRead ? wanted.keys() : PersistentMap.changedKeys(wantedBefore, wanted), signal);
      }),
    remove: (wanted, signal) =>
      inTurn(async () => {
        await ensureRead(signal);
        const { record } = state();
        const changed = new Set([
          ...PersistentMap.changedKeys(cleaned.record, record),
          ...PersistentMap.changedKeys(cleaned.wanted, wanted),
        ]);
        const gone = [...changed].filter((text) => record.has(text) && !wanted.has(text));
        if (gone.length > 0) await take(gone, signal);
        cleaned = { record: state().record, wanted };
        return gone.length > 0;
      }),
    removeUnending: (signal) =>
      inTurn(async () => {
        await read(signal);
        const ending = expiring(state());
        const gone = [...state().record.keys()].filter((text) => !ending.has(text));
        if (gone.length > 0) await take(gone, signal);
      }),
    keepUntil: (untilMs, signal) =>
      inTurn(async () => {
        // `ip address change` adds an address that is gone: then it would be on the host, and not advertised.
        if (isOver()) {
          begin(state().record);
          wantedBefore = PersistentMap.empty();
        }
        await ensureRead(signal);
        const isForever = untilMs === undefined && keptUntilMs === undefined;
        keptUntilMs = untilMs;
        const now = state();
        // An earlier process may have given its addresses a lifetime.
        const changes = (text: string): boolean => !isForever || expiring(now).has(text);
        const addresses = [...now.present.keys()].filter(changes).flatMap((text) => parseIp(text) ?? []);
        await kernel.extend(placesIn(now.present, addresses), lifetime(), signal);
      }),
    audit: (wanted, signal) => inTurn(() => network.links.audited(() => audit(wanted, signal))),
    check: (wanted, signal) =>
      inTurn(() =>
        network.links.audited(async () => {
          if (await isDoubtful(signal)) return await audit(wanted, signal);
          const changed = PersistentMap.changedKeys(wantedBefore, wanted);
          return await add(wanted, new Set([...changed, ...network.addresses().refused.keys()]), signal);
        }),
      ),
  };
}

const mostShown = 20;

/** At most as many as fit on a line of the log. */
function shown(addresses: Iterable<string>): readonly string[] {
  const all = [...addresses];
  return all.length <= mostShown ? all : [...all.slice(0, mostShown), `and ${all.length - mostShown} more`];
}

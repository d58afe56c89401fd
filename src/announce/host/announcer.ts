import { makeSerial } from '../../async/serial.ts';
import { type Ip, parseIp } from '../../core/ip/ip.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import type { Addresses, Announcer } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import { makeFrameSender } from './frame-sender.ts';
import { announcementOf } from './frames.ts';
import { type Interface, isOurInterface, linkFinder, ownOf, presentOf, withoutGlobal } from './inventory.ts';
import { makeKernel, type Place } from './kernel.ts';
import { changedCounts, countsOf, placesFor, placesIn, recordedPlaces, strayedFrom } from './places.ts';
import { type AddressRecord, makeRecordFile } from './record.ts';

/*
 * Where an address goes, and why
 *
 *   IPv4   /32 on furiwake0. The kernel answers ARP for it on every link (unless net.ipv4.conf.*.arp_ignore is 1 or
 *          more there: then nobody finds it). Scope link: the host never takes it as source of its own connections.
 *   IPv6   /128 on the interface in whose subnet it is, for the kernel answers neighbour solicitations only there;
 *          else on furiwake0. preferred_lft 0: not a source either. nodad: usable at once.
 *
 * furiwake0 is a dummy, or a bridge without ports where the kernel has no dummy. All on it is ours. Where there are more
 * than 500 there is a furiwake1, and so on: the kernel looks at all addresses of an interface for each one that comes
 * (10,000 on one: 2.6 s; on twenty: 0.2 s). What we add is recorded before it is added; an address that the host has
 * elsewhere is its own, and never touched.
 *
 * After a reboot we may be faster than DHCP clients and routers' advertisements. So each audit leaves to the host what it
 * has come to have itself, and moves an IPv6 address whose subnet has come to an interface.
 */

/** For so long the host's own addresses are taken to be what they were: a burst of new ones costs one look. */
const freshMs = 1000;

/** An announcer that can also tell what the host would have without it. */
export type HostAnnouncer = Announcer & {
  /** The host's own addresses, freshly read; loopback and link-local ones are left out. */
  ownAddresses(signal: AbortSignal): Promise<readonly Ip[]>;
  /** They as they were at the last look, by their text; the same object as long as they are the same. */
  knownOwn(): ReadonlyMap<string, Ip>;
};

/** What was read from the kernel and our record, and what we changed since. */
type State = {
  readonly interfaces: readonly Interface[];
  readonly own: ReadonlyMap<string, Ip>;
  /** Those of them that are not of scope global. */
  readonly ownElse: ReadonlyMap<string, Ip>;
  readonly ownReadAtMs: number;
  readonly ours: AddressRecord;
  /** Those of `ours` that the host has. */
  readonly present: AddressRecord;
  /** All of these are either own or present. */
  readonly ensured: Addresses;
  /** What is in `ours` is among these; `undefined` when that is not known. */
  readonly kept: Addresses | undefined;
  /** Our interfaces that are there. */
  readonly links: ReadonlyMap<string, 'down' | 'up'>;
  /** How many addresses of `ours` each interface has. */
  readonly counts: ReadonlyMap<string, number>;
};

/**
 * Addresses on this host itself. `folder` is the state directory; `lifetime` ends the announcements that are under way.
 * Its functions throw `ExecError` when `ip` fails; calling them again does what is missing.
 */
export function makeAnnouncer({
  exec,
  files,
  folder,
  clock,
  log,
  lifetime,
}: {
  readonly exec: Exec;
  readonly files: Files;
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly lifetime: AbortSignal;
}): HostAnnouncer {
  const recordFile = makeRecordFile({ files, path: `${folder}/addresses.json`, log });
  const kernel = makeKernel({ exec, clock, lifetime });
  const sender = makeFrameSender({ exec, clock, log, lifetime });
  /** `undefined` when it must be read: at first, and after a change that failed. */
  let state: State | undefined;
  let refused: ReadonlyMap<string, string> = new Map();
  let knownOwn: ReadonlyMap<string, Ip> = new Map();
  /** One at a time: each works on the state that the one before left. */
  const inTurn = makeSerial();

  const noteOwn = (own: ReadonlyMap<string, Ip>): ReadonlyMap<string, Ip> => {
    if (own.size !== knownOwn.size || ![...own.keys()].every((text) => knownOwn.has(text))) knownOwn = own;
    return knownOwn;
  };

  const readAll = async (signal: AbortSignal): Promise<State> => {
    const record = await recordFile.read();
    const interfaces = await kernel.interfaces([], signal);
    const found = presentOf(interfaces, record);
    const ours = record.with(found);
    state = {
      interfaces,
      own: noteOwn(ownOf(interfaces, record)),
      ownElse: ownOf(withoutGlobal(interfaces), record),
      ownReadAtMs: clock.monotonic(),
      ours,
      present: found,
      ensured: PersistentMap.empty(),
      kept: undefined,
      links: new Map(
        interfaces.filter(({ name }) => isOurInterface(name)).map(({ name, isUp }) => [name, isUp ? 'up' : 'down']),
      ),
      counts: countsOf(ours),
    };
    return state;
  };

  /**
   * Without our IPv4 addresses, which have scope link: 8 ms instead of 35 with 10,000 of them. An own address of another
   * scope than global is seen by the next audit.
   */
  const readOwn = async (signal: AbortSignal): Promise<State> => {
    if (state === undefined) return await readAll(signal);
    const interfaces = await kernel.interfaces(['scope', 'global'], signal);
    const own = noteOwn(new Map([...ownOf(interfaces, state.ours), ...state.ownElse]));
    state = { ...state, interfaces, own, ownReadAtMs: clock.monotonic() };
    return state;
  };

  /** What the host's own addresses are, read anew when there is one that we have not decided about. */
  const decide = async (wanted: Addresses, signal: AbortSignal): Promise<State> => {
    const known = state;
    if (known === undefined) return await readAll(signal);
    return missingFrom(known, wanted).length === 0 || clock.monotonic() - known.ownReadAtMs < freshMs
      ? known
      : await readOwn(signal);
  };

  /** Where they shall be, on the disk before anything is done about it. */
  const record = async (before: State, missing: readonly Ip[]): Promise<State> => {
    const places = placesFor(missing, before);
    const ours = before.ours.with(places);
    if (ours === before.ours) return before;
    state = undefined; // until it is done
    await recordFile.write(ours);
    state = {
      ...before,
      ours,
      kept: before.kept?.with(missing.map((address) => [address.text, address])),
      counts: changedCounts(changedCounts(before.counts, recordedPlaces(before, missing), -1), places.values(), 1),
    };
    return state;
  };

  const add = async (known: State, missing: readonly Ip[], signal: AbortSignal): Promise<number> => {
    const before = await record(known, missing);
    const places = placesIn(before.ours, missing);
    const used = new Set(places.map(({ on }) => on).filter(isOurInterface));
    state = undefined; // until all of it is done
    for (const name of used) await kernel.ensureInterface(name, before.links.get(name), signal);
    const refusedNow = await kernel.add(places, signal);
    noteRefused(
      missing.map(({ text }) => text),
      refusedNow,
    );
    const added = places.filter(({ address }) => !refusedNow.has(address.text));
    state = {
      ...before,
      present: before.present.with(added.map(({ address, on }) => [address.text, on])),
      links: new Map([...before.links, ...Array.from(used, (name) => [name, 'up'] as const)]),
    };
    const linkOf = linkFinder(before.interfaces);
    sender.announce(added.flatMap(({ address }) => announcementOn(address, linkOf(address))));
    if (added.length > 0)
      log.info({ addresses: shown(added.map(({ address }) => address.text)) }, 'addresses added to this host');
    return added.length;
  };

  /** Of `tried` these were refused. */
  const noteRefused = (tried: readonly string[], now: ReadonlyMap<string, string>): void => {
    const fresh = [...now].filter(([text, words]) => refused.get(text) !== words);
    if (fresh.length > 0)
      log.warn({ addresses: shown(fresh.map((parts) => parts.join(' '))) }, 'the kernel does not take these addresses');
    if (now.size === 0 && refused.size === 0) return;
    const rest = new Map(refused);
    for (const text of tried) rest.delete(text);
    refused = new Map([...rest, ...now]);
  };

  const remove = async (before: State, gone: readonly string[], signal: AbortSignal): Promise<void> => {
    const ours = before.ours.with(gone.map((text) => [text, undefined]));
    const counts = changedCounts(
      before.counts,
      gone.flatMap((text) => before.ours.get(text) ?? []),
      -1,
    );
    const addresses = gone.filter((text) => before.present.has(text)).flatMap((text) => parseIp(text) ?? []);
    const next = {
      ...before,
      ours,
      present: before.present.with(gone.map((text) => [text, undefined])),
      ensured: before.ensured.with(gone.map((text) => [text, undefined])),
      counts,
    };
    state = undefined; // until all of it is done
    const cleared = await clear(next, placesIn(before.ours, addresses), signal);
    await recordFile.write(ours);
    state = cleared;
    noteRefused(gone, new Map());
    log.info({ addresses: shown(gone) }, 'addresses removed from this host');
  };

  /** Takes addresses away, and the interfaces of ours that have none of `ours`. */
  const clear = async (from: State, places: readonly Place[], signal: AbortSignal): Promise<State> => {
    const empty = [...from.links.keys()].filter((name) => !from.counts.has(name));
    if (places.length + empty.length > 0) await kernel.remove(places, empty, signal);
    return { ...from, links: new Map([...from.links].filter(([name]) => from.counts.has(name))) };
  };

  /** The host has come to have them itself: after a reboot we may be faster than its DHCP client. */
  const leave = async (before: State, doubles: readonly string[], signal: AbortSignal): Promise<void> => {
    log.info({ addresses: shown(doubles) }, 'the host has these addresses itself by now');
    await remove(before, doubles, signal);
  };

  /** Their subnet has come to an interface: after a reboot we may be faster than the router's advertisement. */
  const move = async (before: State, strayed: readonly Ip[], signal: AbortSignal): Promise<void> => {
    await add(before, strayed, signal);
    const next = state ?? (await readAll(signal));
    const moved = strayed.filter(
      ({ text }) => before.present.has(text) && next.present.get(text) === next.ours.get(text),
    );
    state = undefined; // until all of it is done
    state = await clear(next, placesIn(before.ours, moved), signal);
  };

  return {
    added: (wanted, signal) =>
      inTurn(async () => {
        const { own } = await decide(wanted, signal);
        return wanted.with(Array.from(own.keys(), (text) => [text, undefined]));
      }),
    prepare: (wanted, signal) =>
      inTurn(async () => {
        const known = await decide(wanted, signal);
        await record(known, missingFrom(known, wanted));
      }),
    ensure: (wanted, signal) =>
      inTurn(async () => {
        const known = await decide(wanted, signal);
        const missing = missingFrom(known, wanted);
        if (missing.length > 0) await add(known, missing, signal);
        state = { ...(state ?? known), ensured: wanted };
      }),
    release: (wanted, signal) =>
      inTurn(async () => {
        const known = state ?? (await readAll(signal));
        const candidates = known.kept === undefined ? known.ours.keys() : PersistentMap.changedKeys(known.kept, wanted);
        const gone = [...candidates].filter((text) => known.ours.has(text) && !wanted.has(text));
        if (gone.length > 0) await remove(known, gone, signal);
        state = { ...(state ?? known), kept: wanted };
      }),
    audit: (signal) =>
      inTurn(async () => {
        let known = await readAll(signal);
        const down = [...known.links].filter(([, present]) => present === 'down');
        for (const [name, present] of down) await kernel.ensureInterface(name, present, signal);
        if (down.length > 0) known = await readAll(signal);
        const doubles = [...known.own.keys()].filter((text) => known.ours.has(text));
        if (doubles.length > 0) await leave(known, doubles, signal);
        known = state ?? known;
        const strayed = strayedFrom(known);
        if (strayed.length > 0) await move(known, strayed, signal);
        known = state ?? known;
        const missing = [...known.ours.keys()]
          .filter((text) => !known.own.has(text) && !known.present.has(text))
          .flatMap((text) => parseIp(text) ?? []);
        const added = missing.length > 0 ? await add(known, missing, signal) : 0;
        return added + down.length;
      }),
    recorded: (wanted, signal) =>
      inTurn(async () => {
        const { ours } = state ?? (await readAll(signal));
        return PersistentMap.from([...wanted].filter(([text]) => ours.has(text)));
      }),
    refused: () => refused,
    knownOwn: () => knownOwn,
    ownAddresses: (signal) => inTurn(async () => [...(await readOwn(signal)).own.values()]),
  };
}

/** Those that the host has neither of its own nor by us. */
function missingFrom({ own, present, ensured }: State, wanted: Addresses): readonly Ip[] {
  return PersistentMap.changedKeys(ensured, wanted).flatMap((text) => {
    const address = wanted.get(text);
    return address === undefined || own.has(text) || present.has(text) ? [] : address;
  });
}

const mostShown = 20;

/** As many as a line of the log should have. */
function shown(addresses: Iterable<string>): readonly string[] {
  const all = [...addresses];
  return all.length <= mostShown ? all : [...all.slice(0, mostShown), `and ${all.length - mostShown} more`];
}

function announcementOn(address: Ip, link: Interface | undefined): ReturnType<typeof announcementOf>[] {
  return link?.mac === undefined ? [] : [announcementOf(address, link.mac, link.index)];
}

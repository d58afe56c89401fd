import { type Family, type Ip, parseIp } from '../../core/ip/ip.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { Clock } from '../../ports/clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import type { Addresses, Announcer } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import { makeFrameSender } from './frame-sender.ts';
import { announcementOf } from './frames.ts';
import { decodeInterfaces, type Interface, isOurInterface, linkOf, ownOf, presentOf } from './inventory.ts';
import { makeIpSession } from './ip-session.ts';
import { changedCounts, countsOf, placed, placesFor, recordedPlaces } from './places.ts';
import { type AddressRecord, readRecord, writeRecord } from './record.ts';

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
 */
const addFlags: Readonly<Record<Family, string>> = { 4: 'scope link', 6: 'preferred_lft 0 nodad' };

/** For so long the host's own addresses are taken to be what they were: a burst of new ones costs one look. */
const freshMs = 1000;

/** An announcer that can also tell what the host would have without it. */
export type HostAnnouncer = Announcer & {
  /** The host's own addresses, freshly read; loopback and link-local ones are left out. */
  ownAddresses(signal: AbortSignal): Promise<readonly Ip[]>;
};

/** What was read from the kernel and our record, and what we changed since. */
type State = {
  readonly interfaces: readonly Interface[];
  readonly own: ReadonlyMap<string, Ip>;
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
 * Its functions throw `ExecError` when `ip` refuses; calling them again does what is missing.
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
  const path = `${folder}/addresses.json`;
  const session = makeIpSession({ exec, clock, lifetime });
  const sender = makeFrameSender({ exec, clock, log, lifetime });
  /** `undefined` when it must be read: at first, and after a change that failed. */
  let state: State | undefined;
  let queue: Promise<unknown> = Promise.resolve();

  /** One at a time: each works on the state that the one before left. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = queue.then(work);
    queue = turn.catch(() => undefined); // the caller of `inTurn` gets it
    return turn;
  };

  const list = async (filter: readonly string[], signal: AbortSignal): Promise<readonly Interface[]> =>
    decodeInterfaces((await exec.run('ip', ['-json', 'address', 'show', ...filter], { signal })).stdout);

  const readAll = async (signal: AbortSignal): Promise<State> => {
    const record = await readRecord(files, path);
    const interfaces = await list([], signal);
    const found = presentOf(interfaces, record);
    const ours = record.with(found);
    state = {
      interfaces,
      own: ownOf(interfaces, record),
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

  /** Without our IPv4 addresses, which have scope link: 8 ms instead of 35 with 10,000 of them. */
  const readOwn = async (signal: AbortSignal): Promise<State> => {
    if (state === undefined) return await readAll(signal);
    const interfaces = await list(['scope', 'global'], signal);
    state = { ...state, interfaces, own: ownOf(interfaces, state.ours), ownReadAtMs: clock.monotonic() };
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

  const ip = async (lines: readonly string[], signal: AbortSignal): Promise<void> => {
    await exec.run('ip', ['-batch', '-'], { stdin: lines.map((line) => `${line}\n`).join(''), signal });
  };

  const ensureInterface = async (
    name: string,
    present: 'down' | 'up' | undefined,
    signal: AbortSignal,
  ): Promise<void> => {
    if (present === 'up') return;
    if (present === undefined)
      await ip([`link add ${name} type dummy`], signal).catch(async (error: unknown) => {
        if (!(error instanceof ExecError)) throw error;
        await ip([`link add ${name} type bridge`], signal); // no dummy in this kernel
      });
    // Of IPv6, which not every kernel has. Without it there would be a link-local address, which does no harm.
    await ip([`link set ${name} addrgenmode none`], signal).catch((error: unknown) => {
      if (!(error instanceof ExecError)) throw error;
    });
    await ip([`link set ${name} up`], signal);
    await session.close();
  };

  const add = async (before: State, missing: readonly Ip[], signal: AbortSignal): Promise<void> => {
    const places = placesFor(missing, before);
    const ours = before.ours.with(places);
    const used = new Set([...places.values()].filter(isOurInterface));
    state = undefined; // until all of it is done
    await writeRecord(files, path, ours);
    for (const name of used) await ensureInterface(name, before.links.get(name), signal);
    await session.run(
      missing.map((address) => `address add ${placed(address, places.get(address.text))} ${addFlags[address.family]}`),
      signal,
    );
    state = {
      ...before,
      ours,
      present: before.present.with(places),
      kept: before.kept?.with(missing.map((address) => [address.text, address])),
      links: new Map([...before.links, ...Array.from(used, (name) => [name, 'up'] as const)]),
      counts: changedCounts(changedCounts(before.counts, recordedPlaces(before, missing), -1), places.values(), 1),
    };
    sender.announce(missing.flatMap((address) => announcementOn(address, linkOf(address, before.interfaces))));
    log.info({ addresses: shown(places.keys()) }, 'addresses added to this host');
  };

  const remove = async (before: State, gone: readonly string[], signal: AbortSignal): Promise<void> => {
    const ours = before.ours.with(gone.map((text) => [text, undefined]));
    const counts = changedCounts(
      before.counts,
      gone.flatMap((text) => before.ours.get(text) ?? []),
      -1,
    );
    const lines = gone
      .filter((text) => before.present.has(text))
      .flatMap((text) => parseIp(text) ?? [])
      .map((address) => `address delete ${placed(address, before.ours.get(address.text))}`);
    const empty = [...before.links.keys()].filter((name) => !counts.has(name));
    state = undefined; // until all of it is done
    await ip([...lines, ...empty.map((name) => `link delete ${name}`)], signal);
    if (empty.length > 0) await session.close();
    await writeRecord(files, path, ours);
    state = {
      ...before,
      ours,
      present: before.present.with(gone.map((text) => [text, undefined])),
      ensured: before.ensured.with(gone.map((text) => [text, undefined])),
      links: new Map([...before.links].filter(([name]) => counts.has(name))),
      counts,
    };
    log.info({ addresses: shown(gone) }, 'addresses removed from this host');
  };

  return {
    added: (wanted, signal) =>
      inTurn(async () => {
        const { own } = await decide(wanted, signal);
        return wanted.with(Array.from(own.keys(), (text) => [text, undefined]));
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
        for (const [name, present] of down) await ensureInterface(name, present, signal);
        if (down.length > 0) known = await readAll(signal);
        const missing = [...known.ours.keys()]
          .filter((text) => !known.own.has(text) && !known.present.has(text))
          .flatMap((text) => parseIp(text) ?? []);
        if (missing.length > 0) await add(known, missing, signal);
        return missing.length + down.length;
      }),
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

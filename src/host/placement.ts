import { makeBackoff } from '../async/backoff.ts';
import { makeSerial } from '../async/serial.ts';
import { makeTrouble } from '../async/trouble.ts';
import { type Ip, parseIp } from '../core/ip/ip.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { Clock } from '../ports/clock.ts';
import type { Exec } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import type { Addresses, HostAddresses, Placement } from '../ports/host.ts';
import type { Log } from '../ports/log.ts';
import { isOurInterface, linkFinder, type NetworkInterface, ownOf, presentOf } from './interfaces.ts';
import { makeKernel, type Place } from './kernel.ts';
import { watchNetwork } from './kernel-events.ts';
import { placesFor } from './places.ts';
import type { PlacementRecord, RecordFile } from './placement-record.ts';
import { hostNeeds, primaryAddresses, readRoutes } from './routes.ts';

/*
 * Where an address is put, and why
 *
 *   IPv4   /32 on furiwake0. The kernel answers ARP for it on every link (unless net.ipv4.conf.*.arp_ignore is 1 or
 *          more there: then no neighbour finds it). Scope link: the host never takes it as source of its own connections.
 *   IPv6   /128 on the interface in whose subnet it is, for the kernel answers neighbour solicitations only there;
 *          else on furiwake0. preferred_lft 0: not a source either. nodad: usable at once.
 *
 * furiwake0 is a dummy, or a bridge without ports where the kernel has no dummy. Every address on it is furiwake's. Where
 * there are more than 500 there is a furiwake1, and so on: the kernel looks at all addresses of an interface for each one
 * that is added (10,000 on one: 2.6 s; on twenty: 0.2 s). An address is recorded before it is added; one that the host has
 * elsewhere is its own, and never touched.
 *
 * After a reboot furiwake may be faster than DHCP clients and router advertisements. So each audit leaves to the host what
 * it now has itself, and moves an IPv6 address whose subnet has come to an interface.
 */

/** What the host has, as read last and changed since. */
type State = {
  readonly interfaces: readonly NetworkInterface[];
  readonly own: ReadonlyMap<string, Ip>;
  readonly primary: readonly Ip[];
  readonly needs: ReadonlyMap<string, string>;
  /** Addresses of furiwake: where each is, or is to be. On the disk. */
  readonly record: PlacementRecord;
  /** Those of them that the host has, with the interface. */
  readonly present: PlacementRecord;
};

/**
 * Addresses on this host itself. Its functions throw `ExecError` when `ip` fails, and what the record file throws;
 * calling them again does what is missing. What it keeps open ends with `lifetime`.
 */
export function makePlacement(deps: {
  readonly exec: Exec;
  readonly files: Pick<Files, 'read'>;
  readonly record: RecordFile;
  readonly clock: Clock;
  readonly log: Log;
  readonly lifetime: AbortSignal;
}): Placement {
  const { exec, clock, log } = deps;
  const kernel = makeKernel(deps);
  /** One at a time: each works on the state that the one before left. */
  const inTurn = makeSerial();
  /** `undefined` when it must be read: at first, and after a change that failed. */
  let state: State | undefined;
  let known: HostAddresses = { own: new Map(), primary: [], needs: new Map(), refused: new Map() };
  /** What `add` or `audit` was asked for last: so many listeners are diffed against it. */
  let wantedBefore: Addresses = PersistentMap.empty();

  const publish = (next: State, refused: ReadonlyMap<string, string> = known.refused): void => {
    const own = isSameKeys(known.own, next.own) ? known.own : next.own;
    const primary = isSameAddresses(known.primary, next.primary) ? known.primary : next.primary;
    const same = isSameTexts(known.refused, refused) ? known.refused : refused;
    const needs = isSameTexts(known.needs, next.needs) ? known.needs : next.needs;
    const isSame = own === known.own && primary === known.primary && needs === known.needs && same === known.refused;
    if (!isSame) known = { own, primary, needs, refused: same };
    state = { ...next, own };
  };

  const read = async (signal: AbortSignal): Promise<State> => {
    const record = state?.record ?? (await deps.record.read());
    const interfaces = await kernel.interfaces(signal);
    const present = presentOf(interfaces, record);
    const routes = await readRoutes(exec, signal);
    const resolvConf = (await deps.files.read('/etc/resolv.conf').catch(() => undefined)) ?? '';
    publish({
      interfaces,
      own: ownOf(interfaces, record),
      primary: primaryAddresses(routes, interfaces, record),
      needs: hostNeeds(routes, interfaces, resolvConf),
      record: record.with(present),
      present,
    });
    return state as State;
  };

  const write = async (before: State, record: PlacementRecord): Promise<State> => {
    if (record === before.record) return before;
    state = undefined; // until it is done
    await deps.record.write(record);
    return (state = { ...before, record });
  };

  const put = async (before: State, missing: readonly Ip[], signal: AbortSignal): Promise<readonly Ip[]> => {
    if (missing.length === 0) return [];
    const recorded = await write(before, before.record.with(placesFor(missing, before)));
    const places = placesIn(recorded.record, missing);
    state = undefined; // until all of it is done
    const links = new Map(
      recorded.interfaces.map(({ name, isUp }) => [name, isUp ? ('up' as const) : ('down' as const)]),
    );
    const used = new Set(places.map(({ on }) => on).filter(isOurInterface));
    for (const name of used) await kernel.ensureInterface(name, links.get(name), signal);
    const refusedNow = await kernel.add(places, signal);
    const added = places.filter(({ address }) => !refusedNow.has(address.text));
    const isNew = [...used].some((name) => links.get(name) !== 'up');
    const next = {
      ...recorded,
      interfaces: isNew ? await kernel.interfaces(signal) : recorded.interfaces,
      present: recorded.present.with(added.map(({ address, on }) => [address.text, on])),
    };
    publish(next, refusedAfter(missing, refusedNow));
    if (added.length > 0)
      log.info({ addresses: shown(added.map(({ address }) => address.text)) }, 'addresses added to this host');
    return added.map(({ address }) => address);
  };

  const refusedAfter = (tried: readonly Ip[], now: ReadonlyMap<string, string>): ReadonlyMap<string, string> => {
    const fresh = [...now].filter(([text, words]) => known.refused.get(text) !== words);
    if (fresh.length > 0)
      log.warn({ addresses: shown(fresh.map((parts) => parts.join(' '))) }, 'the kernel does not take these addresses');
    const rest = new Map(known.refused);
    for (const { text } of tried) rest.delete(text);
    return new Map([...rest, ...now]);
  };

  /** Removes addresses of furiwake, and its interfaces that have none left. */
  const take = async (before: State, gone: readonly string[], signal: AbortSignal): Promise<void> => {
    const record = before.record.with(gone.map((text) => [text, undefined]));
    const places = gone.flatMap((text): Place[] => {
      const [address, on] = [parseIp(text), before.present.get(text)];
      return address === undefined || on === undefined ? [] : [{ address, on }];
    });
    const empty = emptiedBy(record, before);
    state = undefined; // until all of it is done
    await kernel.remove(places, empty, signal);
    await deps.record.write(record);
    const refused = new Map(known.refused);
    for (const text of gone) refused.delete(text);
    wantedBefore = wantedBefore.with(gone.map((text) => [text, undefined])); // `add` puts them back when they are wanted again
    publish(
      {
        ...before,
        interfaces: before.interfaces.filter(({ name }) => !empty.includes(name)),
        record,
        present: before.present.with(gone.map((text) => [text, undefined])),
      },
      refused,
    );
    if (places.length > 0) log.info({ addresses: shown(gone) }, 'addresses removed from this host');
  };

  const current = async (signal: AbortSignal): Promise<State> => state ?? (await read(signal));

  return {
    addresses: () => known,
    linkOf: (address) => {
      const link = linkFinder(state?.interfaces ?? [])(address);
      return link?.mac === undefined ? undefined : { index: link.index, mac: link.mac };
    },
    refresh: (signal) =>
      inTurn(async () => {
        await read(signal);
        return known;
      }),
    add: (wanted, signal) =>
      inTurn(async () => {
        const isKnown = state !== undefined;
        const before = await current(signal);
        const candidates = isKnown ? PersistentMap.changedKeys(wantedBefore, wanted) : wanted.keys();
        const added = await put(before, missingFrom(before, wanted, candidates), signal);
        wantedBefore = wanted;
        return added;
      }),
    remove: (wanted, signal) =>
      inTurn(async () => {
        const before = await current(signal);
        const gone = before.record.size === 0 ? [] : [...before.record.keys()].filter((text) => !wanted.has(text));
        if (gone.length > 0) await take(before, gone, signal);
      }),
    audit: (wanted, signal) =>
      inTurn(async () => {
        let before = await read(signal);
        const doubles = [...before.own.keys()].filter((text) => before.record.has(text));
        if (doubles.length > 0) {
          log.info({ addresses: shown(doubles) }, 'the host has these addresses itself now; leaving them to it');
          await take(before, doubles, signal);
          before = await current(signal);
        }
        const strayed = strayedFrom(before);
        if (strayed.length > 0) {
          await put(before, strayed, signal);
          const now = await current(signal);
          const moved = strayed.filter(({ text }) => now.present.get(text) !== before.present.get(text));
          await kernel.remove(placesIn(before.present, moved), emptiedBy(now.record, now), signal);
          before = await read(signal);
        }
        const down = before.interfaces.filter(({ name, isUp }) => isOurInterface(name) && !isUp);
        for (const { name } of down) await kernel.ensureInterface(name, 'down', signal);
        const restored = await put(before, missingFrom(before, wanted, wanted.keys()), signal);
        wantedBefore = wanted;
        return [...strayed, ...restored];
      }),
    run: async (onChange, signal) => {
      const trouble = makeTrouble({ what: 'watching network interfaces', log, monotonic: () => clock.monotonic() });
      const backoff = makeBackoff({ firstMs: 1_000, mostMs: 60_000 });
      while (!signal.aborted) {
        try {
          for await (const event of watchNetwork(exec, signal)) {
            trouble.over();
            backoff.reset();
            const isLink = event.kind === 'link' || event.kind === 'unsure';
            if (event.kind === 'added' && (known.own.has(event.address) || state?.record.has(event.address) === true))
              continue;
            if (event.kind === 'removed' && !known.own.has(event.address) && state?.record.has(event.address) !== true)
              continue;
            onChange(isLink ? 'links' : 'addresses');
          }
        } catch (error) {
          if (signal.aborted) return;
          trouble.failed(error);
        }
        await clock.sleep(backoff.next(), signal).catch(() => undefined); // aborted: the condition of the loop
      }
    },
  };
}

/** Those of `wanted` among `candidates` that the host has neither of its own nor from furiwake. */
function missingFrom({ own, present }: State, wanted: Addresses, candidates: Iterable<string>): readonly Ip[] {
  return [...candidates].flatMap((text) => {
    const address = wanted.get(text);
    return address === undefined || own.has(text) || present.has(text) ? [] : address;
  });
}

/** The interfaces of furiwake on which no address of the record is. */
function emptiedBy(record: PlacementRecord, { interfaces }: Pick<State, 'interfaces'>): readonly string[] {
  const used = new Set(record.values());
  return interfaces.map(({ name }) => name).filter((name) => isOurInterface(name) && !used.has(name));
}

/** The IPv6 addresses of furiwake that are not on the interface where the neighbours look for them. */
function strayedFrom({ interfaces, record }: State): readonly Ip[] {
  const linkOf = linkFinder(interfaces);
  return [...record].flatMap(([text, place]) => {
    const address = text.includes(':') ? parseIp(text) : undefined;
    const link = address && linkOf(address)?.name;
    return address === undefined || link === undefined || link === place ? [] : address;
  });
}

function placesIn(places: ReadonlyMap<string, string>, addresses: readonly Ip[]): readonly Place[] {
  return addresses.flatMap((address) => {
    const on = places.get(address.text);
    return on === undefined ? [] : { address, on };
  });
}

function isSameKeys(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  return a.size === b.size && [...a.keys()].every((key) => b.has(key));
}

function isSameTexts(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}

function isSameAddresses(a: readonly Ip[], b: readonly Ip[]): boolean {
  return a.length === b.length && a.every(({ text }, index) => text === b[index]?.text);
}

const mostShown = 20;

/** As many as a line of the log should have. */
function shown(addresses: Iterable<string>): readonly string[] {
  const all = [...addresses];
  return all.length <= mostShown ? all : [...all.slice(0, mostShown), `and ${all.length - mostShown} more`];
}

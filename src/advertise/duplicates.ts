import { unlessAborted } from '../async/abort.ts';
import { makeLatch } from '../async/latch.ts';
import { makeSubscribers } from '../async/subscribers.ts';
import { makeTrouble } from '../async/trouble.ts';
import type { Ip } from '../core/ip/ip.ts';
import { isSameMap } from '../core/persistent-map.ts';
import type { Clock } from '../ports/clock.ts';
import { type Exec, ExecError, jsonAnswer } from '../ports/exec.ts';
import type { Advertiser, DuplicateProbe } from '../ports/advertiser.ts';
import type { Addresses } from '../ports/host.ts';
import type { Log } from '../ports/log.ts';
import type { Links } from '../ports/network.ts';
import { decodeNeighbour, linesOf, probeOf } from './frames.ts';
import { perlSockets } from './perl-sockets.ts';

/** RFC 5227 waits for seconds, for machines that have just started; a LAN answers within a millisecond. */
const windowMs = 250;
/** An answer may be read so much later. */
const lateMs = 1_000;
/** Longer than perl needs to start and send. */
const startMs = 5_000;

/* Sends frames like the frame sender, up to an empty line, and then prints received frames in hex. */
const script = String.raw`${perlSockets}
while (<STDIN>) {
  my ($index, $frame) = split or last;
  my $ethertype = hex(substr($frame, 24, 4));
  send($link, pack("H*", $frame), 0, pack("SnlSCCx8", 17, $ethertype, $index, 0, 0, 6));  # no answers on an interface that cannot send
}
print "sent\n";
receive(sub { print unpack("H*", $_[1]), "\n" });
`;

export function makeDuplicateProbe(deps: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly links: Pick<Links, 'linkOf'>;
}): DuplicateProbe {
  const { exec, clock, links } = deps;
  /** The MACs of this host: with two interfaces on one LAN, one answers the other. */
  const ownMacs = async (signal: AbortSignal): Promise<ReadonlySet<string | undefined>> => {
    const { stdout } = await exec.run('ip', ['-json', 'link', 'show'], { signal });
    return new Set(
      (jsonAnswer('ip', stdout) as readonly { readonly address?: string }[]).map(({ address }) => address),
    );
  };

  return async (addresses, signal) => {
    const probes = addresses.flatMap((address) => {
      const link = links.linkOf(address);
      return link === undefined ? [] : [probeOf(address, link.mac, link.index)];
    });
    if (probes.length === 0) return new Map();
    await using perl = exec.spawn('perl', ['-e', script], signal);
    using start = clock.deadline(startMs, signal);
    await unlessAborted(perl.write(`${linesOf(probes)}\n`), start.signal);
    const lines = perl.lines[Symbol.asyncIterator]();
    const nextLine = async (until: AbortSignal): Promise<string> => {
      const line = await unlessAborted(lines.next(), until);
      if (line.done === true) throw new ExecError('perl', await perl.exited, await perl.takeErrors());
      return line.value;
    };
    await nextLine(start.signal); // all is sent
    using window = clock.deadline(windowMs, signal);
    const wanted = new Set(addresses.map(({ text }) => text));
    const found = new Map<string, string>();
    for (;;) {
      const line = await nextLine(window.signal).catch((error: unknown) => {
        if (signal.aborted || !window.signal.aborted) throw error;
      });
      if (line === undefined) break; // time is up
      const neighbour = decodeNeighbour(Buffer.from(line, 'hex'));
      if (neighbour !== undefined && wanted.has(neighbour.address)) found.set(neighbour.address, neighbour.mac);
    }
    if (found.size === 0) return found;
    const own = await ownMacs(signal);
    return new Map([...found].filter(([, mac]) => !own.has(mac)));
  };
}

/** Detects machines on the LAN that have the same address as this host, and logs them. */
export type DuplicateWatch = Pick<Advertiser, 'onDuplicates'> & {
  /** Probes the LAN for these addresses of this host. Returns at once. */
  look(addresses: readonly Ip[]): void;
  /** Whether another machine may be answering the probe for this address: to all nodes, where it is IPv6 (RFC 4861 §7.2.4). */
  isProbing(text: string): boolean;
  /** From now on this host has only these addresses. */
  retain(addresses: Addresses): void;
  /** Until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

export function makeDuplicateWatch(deps: {
  readonly probe: DuplicateProbe;
  readonly clock: Clock;
  readonly log: Log;
}): DuplicateWatch {
  const { probe, clock, log } = deps;
  const trouble = makeTrouble({ what: 'looking for duplicate addresses', log, clock });
  const wake = makeLatch();
  let due = new Map<string, Ip>();
  let probed = new Map<string, Ip>();
  /** Until when answers to the probes may arrive, monotonic ms. */
  const answeredUntil = new Map<string, number>();
  let duplicates: ReadonlyMap<string, string> = new Map();
  const subscribers = makeSubscribers<ReadonlyMap<string, string>>();
  const set = (next: ReadonlyMap<string, string>): void => {
    if (isSameMap(duplicates, next)) return;
    duplicates = next;
    subscribers.tell(next);
  };
  return {
    onDuplicates: subscribers.subscribe,
    isProbing: (text) => clock.monotonic() < (answeredUntil.get(text) ?? -Infinity),
    retain: (addresses) => {
      for (const batch of [due, probed]) for (const text of batch.keys()) if (!addresses.has(text)) batch.delete(text);
      set(new Map([...duplicates].filter(([text]) => addresses.has(text))));
    },
    look: (addresses) => {
      for (const address of addresses) due.set(address.text, address);
      if (due.size > 0) wake.set();
    },
    run: async (signal) => {
      for (;;) {
        await wake.wait(signal);
        [probed, due] = [due, new Map()];
        const texts = [...probed.keys()];
        for (const [text, untilMs] of answeredUntil) if (untilMs <= clock.monotonic()) answeredUntil.delete(text);
        for (const text of texts) answeredUntil.set(text, Infinity);
        try {
          const found = await probe([...probed.values()], signal);
          const next = new Map(duplicates);
          for (const text of probed.keys()) {
            const mac = found.get(text);
            if (mac === undefined) next.delete(text);
            else if (next.get(text) !== mac) {
              next.set(text, mac);
              log.warn({ address: text, mac }, `${text} is also in use by another machine on the LAN; remove it there`);
            }
          }
          set(next);
          trouble.over();
        } catch (error) {
          signal.throwIfAborted();
          trouble.failed(error);
        } finally {
          for (const text of texts) answeredUntil.set(text, clock.monotonic() + lateMs);
        }
      }
    },
  };
}

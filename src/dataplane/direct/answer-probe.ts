import { type Family, type Ip, ipOf } from '../../core/ip/ip.ts';
import type { Clock } from '../../ports/clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import { tcpFrame, udpFrame } from './probe-frames.ts';

/** The way of packets from this host over the link to a node, and from the node back to this host. */
export type ProbedPath = {
  /** Of the interface of this host on the node's link, with an address of this host on it. */
  readonly link: { readonly index: number; readonly mac: string; readonly address: Ip };
  readonly nodeMac: string;
  readonly vip: Ip;
  /** Of a TCP listener on the VIP that has no source ranges; `undefined`: no listener is asked. */
  readonly port: number | undefined;
};

/**
 * How nodes send packets that have the VIP as their source:
 *
 *   with a port     this host ── SYN to the VIP ──► node: kube-proxy, Pod       ── SYN-ACK from the VIP ──► this host
 *   without         this host ── datagram from the VIP to this host ──► node: forwards it ─────────────────► this host
 *   always          this host ── datagram from the VIP to a far address ──► node: forwards it ──► this host, or another router
 *
 * The first two show that the LAN lets the node send with an address that is not its own. The first one shows as well that
 * kube-proxy serves the VIP and that a Pod accepts; the second one needs neither, only a node that forwards, as Kubernetes requires.
 * The third one finds a node whose gateway is this host; its TTL ends at the first router. Sends all at once and waits for half
 * a second at most. Throws `ExecError` when perl fails.
 */
export type AnswerProbe = (paths: readonly ProbedPath[], signal: AbortSignal) => Promise<ProbeResult>;

export type ProbeResult = {
  /** The node answers this host, over the link. */
  readonly answered: ReadonlySet<ProbedPath>;
  /** What the node sends to clients outside its LAN crosses this host. */
  readonly crossing: ReadonlySet<ProbedPath>;
};

/** Addresses for benchmarks (RFC 2544, RFC 5180), which only a default route leads to. */
const far: { readonly [F in Family]: Ip } = {
  4: ipOf(4, 0xc6_12_00_01n), // 198.18.0.1
  6: ipOf(6, 0x2001_0002_0000_0000_0000_0000_0000_0001n), // 2001:2::1
};
/** One for the node, and the last one for the router. */
const hopsToRouter = 2;

/** Each path has a port of its own, from here on: an answer to it belongs to the path. */
const firstPort = 61_000;
const mostPaths = 4_000;
/** All is sent twice: the first answer of a Pod may wait for an ARP request. */
const pausesMs = [200, 300];
/** After the last answer: what crosses this host may be a little later. */
const graceMs = 50;
/** Longer than perl needs to start, and the window. */
const startMs = 5_000;

/*
 * perl opens the packet socket, with a filter in the kernel (BPF): of all packets of the host it sees only SYN-ACKs and
 * datagrams to the ports of the probe, none that it has sent itself, or that are for another host. It sends a frame for each line, prints how many it has sent, and prints what it receives in hex.
 */
const script = String.raw`
use strict;
$| = 1;
socket(my $link, 17, 3, unpack("S", pack("n", 3))) or die "packet socket: $!\n";          # AF_PACKET, SOCK_RAW, ETH_P_ALL
my @program = map { pack("SCCL", @$_) } (
  [0x28, 0, 0, 12], [0x15, 0, 5, 0x0800],                                                   # IPv4?
  [0x28, 0, 0, 20], [0x45, 13, 0, 0x1fff], [0xb1, 0, 0, 14], [0x30, 0, 0, 23], [0x05, 0, 0, 3],  # not a later fragment
  [0x15, 0, 9, 0x86dd], [0x01, 0, 0, 40], [0x30, 0, 0, 20],                                 # IPv6?
  [0x15, 4, 0, 17], [0x15, 0, 5, 6], [0x50, 0, 0, 27], [0x54, 0, 0, 0x17], [0x15, 0, 2, 0x12],  # UDP, or TCP with SYN and ACK
  [0x48, 0, 0, 16], [0x35, 1, 0, ${firstPort}], [0x06, 0, 0, 0], [0x06, 0, 0, 96],          # to a port of the probe
);
my $program = join "", @program;
setsockopt($link, 1, 26, pack("Sx6P", scalar @program, $program)) or die "socket filter: $!\n";  # SO_ATTACH_FILTER
setsockopt($link, 1, 33, pack("l", 1 << 20));                                             # SO_RCVBUFFORCE
print "ready\n";
my $waiting = "";
vec($waiting, fileno($_), 1) = 1 for $link, *STDIN;
while (1) {
  select(my $readable = $waiting, undef, undef, undef);
  if (vec($readable, fileno(STDIN), 1)) {
    sysread(STDIN, my $text, 1 << 20) or exit;
    $text .= $_ while substr($text, -1) ne "\n" && sysread(STDIN, $_, 1 << 20);
    my @lines = split /\n/, $text;
    for (@lines) {
      my ($index, $frame) = split;
      my $ethertype = hex(substr($frame, 24, 4));
      send($link, pack("H*", $frame), 0, pack("SnlSCCx8", 17, $ethertype, $index, 0, 0, 6));
    }
    print "sent ", scalar(@lines), "\n";
  }
  next unless vec($readable, fileno($link), 1) && defined(my $from = recv($link, $_, 96, 0));
  print unpack("H*", $_), "\n" if unpack("x10 C", $from) == 0;                                # PACKET_HOST
}
`;

export function makeAnswerProbe(deps: { readonly exec: Exec; readonly clock: Clock }): AnswerProbe {
  const { exec, clock } = deps;
  return async (paths, signal) => {
    const [answered, crossing] = [new Set<ProbedPath>(), new Set<ProbedPath>()];
    const probed = paths.slice(0, mostPaths);
    if (probed.length === 0) return { answered, crossing };
    /** Frames that perl was given and has not sent. */
    let unsent = 0;
    const frameOf = (kind: 'syn' | 'rst', { link, nodeMac, vip, port }: ProbedPath, local: number): string => {
      if (port !== undefined) return tcpFrame(kind, { ...link, port: local }, { mac: nodeMac, address: vip, port });
      const [from, to] = [
        { mac: link.mac, address: vip },
        { mac: nodeMac, address: link.address },
      ];
      return udpFrame({ ...from, port: local }, { ...to, port: local });
    };
    const line = (kind: 'syn' | 'rst', path: ProbedPath, index: number): string =>
      `${path.link.index} ${frameOf(kind, path, firstPort + index)}\n`;
    const farLine = ({ link, nodeMac, vip }: ProbedPath, index: number): string => {
      const port = firstPort + index;
      const [from, to] = [
        { mac: link.mac, address: vip, port },
        { mac: nodeMac, address: far[vip.family], port },
      ];
      return `${link.index} ${udpFrame(from, to, hopsToRouter)}\n`;
    };
    using deadline = clock.deadline(startMs, signal);
    const isOver = new AbortController();
    await using perl = exec.spawn('perl', ['-e', script], AbortSignal.any([deadline.signal, isOver.signal]));
    const sendAll = async (): Promise<void> => {
      for (const pauseMs of pausesMs) {
        const missing = [...probed.entries()].filter(([, path]) => !answered.has(path));
        unsent += 2 * missing.length;
        await perl.write(missing.map(([index, path]) => farLine(path, index) + line('syn', path, index)).join(''));
        await clock.sleep(pauseMs, isOver.signal);
      }
    };
    const receive = async (text: string): Promise<void> => {
      const { mac, source, target, port } = decodeFrame(text);
      const index = port - firstPort;
      const path = probed[index];
      if (path === undefined || source.text !== path.vip.text || mac === path.link.mac) return; // of another source, or a reflection
      if (target.text === far[target.family].text) crossing.add(path);
      else if (!answered.has(path)) await accept(path, index);
    };
    const accept = async (path: ProbedPath, index: number): Promise<void> => {
      answered.add(path);
      if (path.port === undefined) return; // there is no connection to reset
      unsent++;
      await perl.write(line('rst', path, index));
    };
    const endSoon = async (): Promise<void> => {
      await clock.sleep(graceMs, isOver.signal).catch(() => undefined); // it is over already
      isOver.abort();
    };
    let ending: Promise<void> | undefined;
    let sending: Promise<void> | undefined;
    for await (const text of perl.lines) {
      const [, sent] = /^sent (\d+)$/.exec(text) ?? [];
      if (text === 'ready') {
        sending = sendAll().finally(() => isOver.abort());
        sending.catch(() => undefined); // the end of perl, which is reported below
      } else if (sent === undefined) await receive(text);
      else unsent -= Number(sent);
      if (answered.size === probed.length && unsent === 0) ending ??= endSoon(); // the resets are sent, too
    }
    signal.throwIfAborted();
    const isEarly = !isOver.signal.aborted && answered.size < probed.length;
    if (isEarly) throw new ExecError('perl', await perl.exited, perl.takeErrors());
    isOver.abort();
    return { answered, crossing };
  };
}

/** The ends of an Ethernet frame, in hex, with a TCP segment or a datagram: both addresses, the MAC of the source, the port of the target. */
function decodeFrame(frame: string): {
  readonly mac: string;
  readonly source: Ip;
  readonly target: Ip;
  readonly port: number;
} {
  const isV4 = frame.slice(24, 28) === '0800';
  const part = (at: number, bytes: number): string => frame.slice(2 * at, 2 * (at + bytes));
  const segmentAt = isV4 ? 14 + 4 * Number.parseInt(frame[29] ?? '0', 16) : 14 + 40;
  const addressAt = (at: number): Ip =>
    isV4 ? ipOf(4, BigInt(`0x${part(at, 4)}`)) : ipOf(6, BigInt(`0x${part(at, 16)}`));
  return {
    mac: (part(6, 6).match(/../g) ?? []).join(':'),
    source: addressAt(isV4 ? 26 : 22),
    target: addressAt(isV4 ? 30 : 38),
    port: Number.parseInt(part(segmentAt + 2, 2), 16),
  };
}

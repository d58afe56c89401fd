import { type Ip, ipOf } from '../../core/ip/ip.ts';
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
 * Over which of these paths a node sends packets that have the VIP as their source:
 *
 *   with a port     this host ── SYN to the VIP ──► node: kube-proxy, Pod       ── SYN-ACK from the VIP ──► this host
 *   without         this host ── datagram from the VIP to this host ──► node: forwards it ─────────────────► this host
 *
 * Both show that the LAN lets the node send with an address that is not its own. The first one shows as well that kube-proxy serves
 * the VIP and that a Pod accepts; the second one needs neither, only a node that forwards, as Kubernetes requires. Sends all
 * at once and waits for half a second at most. Throws `ExecError` when perl fails.
 */
export type AnswerProbe = (paths: readonly ProbedPath[], signal: AbortSignal) => Promise<ReadonlySet<ProbedPath>>;

/** Each path has a port of its own, from here on: an answer to it belongs to the path. */
const firstPort = 61_000;
const mostPaths = 4_000;
/** A SYN is sent twice: the first answer of a Pod may wait for an ARP request. */
const pausesMs = [200, 300];
/** Longer than perl needs to start, and the window. */
const startMs = 5_000;

/*
 * perl opens the packet socket, with a filter in the kernel (BPF): of all packets of the host it sees only SYN-ACKs and
 * datagrams to the ports of the probe, and none that it has sent itself. It sends a frame for each line, prints how many it has sent, and prints what it receives in hex.
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
  print unpack("H*", $_), "\n" if vec($readable, fileno($link), 1) && defined recv($link, $_, 96, 0);
}
`;

export function makeAnswerProbe(deps: { readonly exec: Exec; readonly clock: Clock }): AnswerProbe {
  const { exec, clock } = deps;
  return async (paths, signal) => {
    const answered = new Set<ProbedPath>();
    const probed = paths.slice(0, mostPaths);
    if (probed.length === 0) return answered;
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
    using deadline = clock.deadline(startMs, signal);
    const isOver = new AbortController();
    await using perl = exec.spawn('perl', ['-e', script], AbortSignal.any([deadline.signal, isOver.signal]));
    const sendAll = async (): Promise<void> => {
      for (const pauseMs of pausesMs) {
        const missing = [...probed.entries()].filter(([, path]) => !answered.has(path));
        unsent += missing.length;
        await perl.write(missing.map(([index, path]) => line('syn', path, index)).join(''));
        await clock.sleep(pauseMs, isOver.signal);
      }
    };
    const receive = async (text: string): Promise<void> => {
      const { mac, source, port } = decodeFrame(text);
      const index = port - firstPort;
      const path = probed[index];
      if (path === undefined || answered.has(path)) return;
      if (source.text !== path.vip.text || mac === path.link.mac) return; // of another source, or a reflection
      answered.add(path);
      if (path.port === undefined) return; // there is no connection to reset
      unsent++;
      await perl.write(line('rst', path, index));
    };
    let sending: Promise<void> | undefined;
    for await (const text of perl.lines) {
      const [, sent] = /^sent (\d+)$/.exec(text) ?? [];
      if (text === 'ready') {
        sending = sendAll().finally(() => isOver.abort());
        sending.catch(() => undefined); // the end of perl, which is reported below
      } else if (sent === undefined) await receive(text);
      else unsent -= Number(sent);
      if (answered.size === probed.length && unsent === 0) break; // the resets are sent, too
    }
    signal.throwIfAborted();
    const isEarly = !isOver.signal.aborted && answered.size < probed.length;
    if (isEarly) throw new ExecError('perl', await perl.exited, perl.takeErrors());
    isOver.abort();
    return answered;
  };
}

/** The sources and the destination port of an Ethernet frame, in hex, with a TCP segment or a datagram. */
function decodeFrame(frame: string): { readonly mac: string; readonly source: Ip; readonly port: number } {
  const isV4 = frame.slice(24, 28) === '0800';
  const part = (at: number, bytes: number): string => frame.slice(2 * at, 2 * (at + bytes));
  const segmentAt = isV4 ? 14 + 4 * Number.parseInt(frame[29] ?? '0', 16) : 14 + 40;
  return {
    mac: (part(6, 6).match(/../g) ?? []).join(':'),
    source: isV4 ? ipOf(4, BigInt(`0x${part(26, 4)}`)) : ipOf(6, BigInt(`0x${part(22, 16)}`)),
    port: Number.parseInt(part(segmentAt + 2, 2), 16),
  };
}

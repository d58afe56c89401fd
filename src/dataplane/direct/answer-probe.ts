import type { Ip } from '../../core/ip/ip.ts';
import type { Clock } from '../../ports/clock.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import { tcpFrame } from './syn-frame.ts';

/** The way of a client's packet: from this host, over the link to a node, to a listener of TCP that has no source ranges. */
export type ProbedPath = {
  /** Of the interface of this host on the node's link, with an address of this host on it. */
  readonly link: { readonly index: number; readonly mac: string; readonly address: Ip };
  readonly nodeMac: string;
  readonly vip: Ip;
  readonly port: number;
};

/**
 * Which of these nodes answer a client with the VIP as their source: a SYN is framed to the node, and its SYN-ACK must arrive.
 * So kube-proxy serves the VIP, a Pod accepts, and the LAN lets a node send with an address that is not its own. Sends
 * all at once and waits for half a second at most. Throws `ExecError` when perl fails.
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
 * perl opens the packet socket, with a filter in the kernel (BPF): of all packets of the host it sees only SYN-ACKs to the ports
 * of the probe. It sends a frame for each line, prints how many it has sent, and prints what it receives in hex.
 */
const script = String.raw`
use strict;
$| = 1;
socket(my $link, 17, 3, unpack("S", pack("n", 3))) or die "packet socket: $!\n";          # AF_PACKET, SOCK_RAW, ETH_P_ALL
my @program = map { pack("SCCL", @$_) } (
  [0x28, 0, 0, 12], [0x15, 0, 6, 0x0800],                                                   # IPv4?
  [0x30, 0, 0, 23], [0x15, 0, 13, 6], [0x28, 0, 0, 20], [0x45, 11, 0, 0x1fff],              # TCP, not a later fragment
  [0xb1, 0, 0, 14], [0x05, 0, 0, 4],
  [0x15, 0, 8, 0x86dd], [0x30, 0, 0, 20], [0x15, 0, 6, 6], [0x01, 0, 0, 40],                # IPv6 and TCP?
  [0x50, 0, 0, 27], [0x54, 0, 0, 0x17], [0x15, 0, 2, 0x12],                                 # SYN and ACK
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
    const line = (kind: 'syn' | 'rst', path: ProbedPath, index: number): string => {
      const { link, nodeMac, vip, port } = path;
      const frame = tcpFrame(kind, { ...link, port: firstPort + index }, { mac: nodeMac, address: vip, port });
      return `${link.index} ${frame}\n`;
    };
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
    let sending: Promise<void> | undefined;
    for await (const text of perl.lines) {
      if (text === 'ready') {
        sending = sendAll().finally(() => isOver.abort());
        sending.catch(() => undefined); // the end of perl, which is reported below
        continue;
      }
      const [, sent] = /^sent (\d+)$/.exec(text) ?? [];
      if (sent !== undefined) {
        unsent -= Number(sent);
        if (answered.size === probed.length && unsent === 0) break; // also the resets
        continue;
      }
      const index = portOf(text) - firstPort;
      const path = probed[index];
      if (path === undefined || answered.has(path)) continue;
      answered.add(path);
      unsent++;
      await perl.write(line('rst', path, index));
    }
    signal.throwIfAborted();
    const isEarly = !isOver.signal.aborted && answered.size < probed.length;
    if (isEarly) throw new ExecError('perl', await perl.exited, perl.takeErrors());
    isOver.abort();
    return answered;
  };
}

/** The destination port of a TCP segment in an Ethernet frame, in hex. */
function portOf(frame: string): number {
  const at = frame.slice(24, 28) === '0800' ? 14 + 4 * Number.parseInt(frame[29] ?? '0', 16) : 14 + 40;
  return Number.parseInt(frame.slice(2 * at + 4, 2 * at + 8), 16);
}

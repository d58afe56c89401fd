import type { Machine } from './net-lab.ts';

/** Packets of as many flows: each has a source address of its own, from 10.66.0.0 on. */
export type Flood = {
  readonly protocol: 'tcp' | 'udp';
  readonly to: string;
  readonly port: number;
  /** At most 100,000. */
  readonly count: number;
  /** Of TCP: SYN by default, as of a client that never answers. */
  readonly flags?: 'syn' | 'ack';
  /** Of UDP: each is the first fragment of a datagram whose rest never comes. */
  readonly isFragment?: boolean;
};

/** The network of all sources. */
export const floodSources = '10.66.0.0/15';

/** Repeats `work`, at least once, while the packets are sent from inside a machine. Resolves with the number of packets. */
export async function duringFlood(machine: Machine, packets: Flood, work: () => Promise<void>): Promise<number> {
  const state = { isOver: false };
  const sending = flood(machine, packets).finally(() => {
    state.isOver = true;
  });
  do await work();
  while (!state.isOver);
  return await sending;
}

/**
 * Sends the packets from inside a machine, at most 25,000 in a second and for five seconds at most. Resolves with their number. The
 * checksum of TCP is right, because the kernel checks it before it opens a connection.
 */
export async function flood(
  machine: Machine,
  { protocol, to, port, count, flags = 'syn', isFragment = false }: Flood,
): Promise<number> {
  const number = protocol === 'tcp' ? 6 : 17;
  const args = [number, to, port, Math.min(count, 100_000), flags === 'syn' ? 2 : 16, isFragment ? 1 : 0];
  return Number(await machine.exec('perl', '-e', script, ...args.map(String)));
}

const script = String.raw`
use Time::HiRes qw(time sleep);
my ($protocol, $to, $port, $count, $flags, $is_fragment) = @ARGV;
socket(my $raw, 2, 3, 255) or die "socket: $!\n";                     # AF_INET, SOCK_RAW, IPPROTO_RAW
my $destination = pack("C4", split /\./, $to);
my $end = pack("Sna4x8", 2, 0, $destination);
my ($high, $low) = unpack("nn", $destination);
my $offset = 0x5000 + $flags;                                         # a header of 20 bytes
my ($start, $sent) = (time, 0);
while ($sent < $count && time - $start < 5) {
  my $source = pack("N", 0x0a420000 + $sent);
  my ($a, $b) = unpack("nn", $source);
  my $from = 1024 + $sent % 60000;
  my $length = $protocol == 6 ? 40 : $is_fragment ? 36 : 29;
  my $packet = pack("CCnnnCCna4a4", 0x45, 0, $length, 0, $is_fragment ? 0x2000 : 0, 64, $protocol, 0, $source, $destination);
  if ($protocol == 6) {
    my $sum = $a + $b + $high + $low + 6 + 20 + $from + $port + $offset + 1024;
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    $packet .= pack("nnNNnnnn", $from, $port, 0, 0, $offset, 1024, ~$sum & 0xffff, 0);
  } else {
    $packet .= pack("nnnna*", $from, $port, 9, 0, "?" x ($length - 28)); # without a checksum
  }
  send($raw, $packet, 0, $end) or $!{ENOBUFS} or die "send: $!\n";
  $sent++;
  sleep(0.01) if $sent % 250 == 0;
}
print $sent;
`;

/** An instruction of the filter of a packet socket (classic BPF): code, jumps if true and if false, operand. */
type FilterStep = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

/**
 * A program for perl that sends frames and prints those that the filter accepts. It prints `ready`, sends a frame for each line
 * `INDEX HEX [ZEROS]` (the number of the interface, the frame, how many zero bytes follow), prints how many it has sent, and the
 * first 96 bytes of each frame that it receives, in hex: none that it has sent itself, or that is for another host.
 */
export function probeScript(filter: readonly FilterStep[]): string {
  return String.raw`
use strict;
$| = 1;
socket(my $link, 17, 3, 0) or die "packet socket: $!\n";                                  # AF_PACKET, SOCK_RAW, receives nothing yet
my @program = map { pack("SCCL", @$_) } (${filter.map((step) => `[${step.join()}]`).join()});
my $program = join "", @program;
setsockopt($link, 1, 26, pack("Sx6P", scalar @program, $program)) or die "socket filter: $!\n";  # SO_ATTACH_FILTER
bind($link, pack("SnlSCCx8", 17, 3, 0, 0, 0, 0)) or die "packet socket: $!\n";             # ETH_P_ALL, only now that the filter is there
setsockopt($link, 1, 33, pack("l", 1 << 21));                                             # SO_RCVBUFFORCE
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
      my ($index, $frame, $zeros) = (split, 0);
      my $ethertype = hex(substr($frame, 24, 4));
      send($link, pack("H*x$zeros", $frame), 0, pack("SnlSCCx8", 17, $ethertype, $index, 0, 0, 6));
    }
    print "sent ", scalar(@lines), "\n";
  }
  next unless vec($readable, fileno($link), 1) && defined(my $from = recv($link, $_, 96, 0));
  print unpack("H*", $_), "\n" if unpack("x10 C", $from) == 0;                                # PACKET_HOST
}
`;
}

/**
 * The begin of a perl program: opens the sockets that Node cannot open. `$link` has frames of ARP, `$neighbours` the
 * neighbour advertisements as the kernel delivers them, without the IPv6 header. `receive` reads them until furiwake ends.
 */
export const perlSockets: string = String.raw`
use strict;
$| = 1;
socket(my $link, 17, 3, unpack("S", pack("n", 0x0806))) or die "packet socket: $!\n";    # AF_PACKET, SOCK_RAW, ARP
setsockopt($link, 1, 33, pack("l", 8 << 20));                                             # SO_RCVBUFFORCE
my @all = ($link, *STDIN);
if (socket(my $neighbours, 10, 3, 58)) {                                                  # AF_INET6, SOCK_RAW, ICMPv6
  setsockopt($neighbours, 58, 1, pack("L8", map { $_ == 4 ? ~(1 << 8) : ~0 } 0 .. 7));    # ICMP6_FILTER: only 136
  setsockopt($neighbours, 1, 33, pack("l", 8 << 20));
  push @all, $neighbours;
}
sub receive {                                                                             # calls this with each socket and frame
  my ($react) = @_;
  my $waiting = "";
  vec($waiting, fileno($_), 1) = 1 for @all;
  while (1) {
    select(my $readable = $waiting, undef, undef, undef);
    exit if vec($readable, fileno(STDIN), 1);                                             # furiwake has ended
    for my $socket (grep { $_ ne *STDIN && vec($readable, fileno($_), 1) } @all) {
      $react->($socket, $_) if defined recv($socket, $_, 2048, 0);
    }
  }
}
`;

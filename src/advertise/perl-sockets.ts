/**
 * The begin of a perl program: opens the sockets that Node cannot open. `$link` has frames of ARP, `$neighbours` the
 * neighbour advertisements as the kernel delivers them, without the IPv6 header. `@all`: both, and the standard input.
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
`;

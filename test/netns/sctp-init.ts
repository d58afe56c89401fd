/** A perl script that sends an INIT (RFC 9260) to an address and port: a kernel may have no sockets for SCTP. */
export const sctpInit: string = String.raw`
use strict;
use Socket qw(:DEFAULT pack_sockaddr_in6 inet_pton AF_INET6);
my ($address, $port) = @ARGV;
my $isIpv6 = $address =~ /:/;
sub packet { pack("n2 N a4", 5000, $port, 0, $_[0]) . pack("C2 n N2 n2 N", 1, 0, 20, 7, 65535, 1, 1, 1) }
my $crc = 0xffffffff;
for (unpack("C*", packet("\0" x 4))) { $crc ^= $_; $crc = $crc & 1 ? ($crc >> 1) ^ 0x82f63b78 : $crc >> 1 for 1 .. 8 }
socket(my $socket, $isIpv6 ? AF_INET6 : AF_INET, SOCK_RAW, 132) or die "socket: $!\n";
my $to = $isIpv6 ? pack_sockaddr_in6(0, inet_pton(AF_INET6, $address)) : pack_sockaddr_in(0, inet_aton($address));
send($socket, packet(pack("V", $crc ^ 0xffffffff)), 0, $to) or die "send: $!\n";
`;

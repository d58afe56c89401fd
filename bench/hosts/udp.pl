# Request and answer over UDP, with as little work as possible on both sides, because client, balancer and nodes share the cores.
#   perl udp.pl serve ADDRESS PORT                    answers each datagram with itself; prints "serving"
#   perl udp.pl same|new ADDRESS PORT SECONDS         64 requests at a time: from the same 64 sockets, or each from a new one;
#                                                     prints the number of answers
use strict;
use warnings;
use IO::Socket::INET;
use Time::HiRes 'time';

my ($role, $address, $port, $seconds) = @ARGV;
if ($role eq 'serve') {
  my $socket = IO::Socket::INET->new(Proto => 'udp', LocalAddr => $address, LocalPort => $port) or die "bind: $!\n";
  $| = 1;
  print "serving\n";
  while (defined(my $from = recv($socket, my $data, 2048, 0))) { send($socket, $data, 0, $from) }
  exit;
}

my $answers = 0;
my %sockets;
my $bits = '';
sub request {
  my $socket = IO::Socket::INET->new(Proto => 'udp', PeerAddr => $address, PeerPort => $port) or die "connect: $!\n";
  $sockets{fileno $socket} = $socket;
  vec($bits, fileno $socket, 1) = 1;
  send($socket, 'x', 0);
}
request() for 1 .. 64;
my $end = time + $seconds;
while (time < $end) {
  my $ready = $bits;
  # Requests that were lost are repeated after 50 ms without any answer.
  if (select($ready, undef, undef, 0.05) <= 0) { send($_, 'x', 0) for values %sockets; next }
  for my $number (keys %sockets) {
    next unless vec($ready, $number, 1);
    my $socket = $sockets{$number};
    recv($socket, my $data, 2048, 0);
    $answers++;
    if ($role eq 'same') { send($socket, 'x', 0); next }
    vec($bits, $number, 1) = 0;
    delete $sockets{$number};
    close $socket;
    request();
  }
}
print $answers;

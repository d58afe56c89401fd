# A stream of bytes over TCP, with as little work as possible on both sides, because client, balancer and nodes share the cores.
#   perl bulk.pl serve PORT up|down             writes to each client (down), or reads from it; prints "serving"
#   perl bulk.pl ADDRESS PORT up|down SECONDS   writes (up), or reads; prints the number of bytes
use strict;
use warnings;
use IO::Socket::INET;
use Time::HiRes 'time';

$SIG{PIPE} = 'IGNORE';
my $block = 'x' x (256 * 1024);

# Ends after `$seconds`, or when the other side does.
sub stream {
  my ($socket, $writes, $seconds) = @_;
  my ($bytes, $buffer, $end) = (0, '', time + $seconds);
  while (time < $end) {
    my $count = $writes ? syswrite($socket, $block) : sysread($socket, $buffer, length $block);
    last unless $count;
    $bytes += $count;
  }
  return $bytes;
}

if ($ARGV[0] eq 'serve') {
  my (undef, $port, $way) = @ARGV;
  $SIG{CHLD} = 'IGNORE';
  my $listener = IO::Socket::INET->new(Listen => 64, LocalPort => $port, ReuseAddr => 1) or die "listen: $!\n";
  $| = 1;
  print "serving\n";
  while (1) {
    my $socket = $listener->accept or next;
    if (fork == 0) { stream($socket, $way eq 'down', 60); exit }
    close $socket;
  }
}

my ($address, $port, $way, $seconds) = @ARGV;
my $socket = IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port) or die "connect: $!\n";
print stream($socket, $way eq 'up', $seconds);

# Sends frames as fast as it can, so that all that the kernel does with them is done in the time of the call.
#   perl frames.pl DEVICE SOURCE-MAC TARGET-MAC ADDRESS KIND
# The kinds: `established` (TCP, 64 flows), `connections` (TCP, each of five packets), `same` (UDP, 64 flows), `new` (UDP, a flow for each).
# Prints the nanoseconds for each frame: of a thousand bursts that which a fifth undercut, because others use the cores, too.
use strict;
use warnings;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my ($device, $from, $to, $address, $kind) = @ARGV;
my ($ports, $bursts, $frames) = ({ established => 80, connections => 80, same => 5300, new => 5300 }, 1000, 200);
# PF_PACKET, SOCK_RAW, no protocol: it receives nothing.
socket(my $socket, 17, 3, 0) or die "socket: $!\n";
open(my $file, '-|', 'ip', '-o', 'link', 'show', 'dev', $device) or die "ip: $!\n";
my ($index) = <$file> =~ /^(\d+):/;
bind($socket, pack('S n i S C C a8', 17, 0, $index, 0, 0, 0, '')) or die "bind: $!\n";

sub sum { my ($sum) = (0); $sum += $_ for unpack 'n*', shift; $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16; ~$sum & 0xffff }
sub mac { pack 'C6', map { hex } split /:/, shift }
sub frame {
  my ($source, $port, $flags) = @_;
  my $payload = defined $flags
    ? pack('n n N N C C n n n', $port, $ports->{$kind}, 0, 0, 0x50, $flags, 0xffff, 0, 0)
    : pack('n n n n a18', $port, $ports->{$kind}, 26, 0, '');
  my @head = (0x45, 0, 20 + length $payload, 0, 0, 64, defined $flags ? 6 : 17);
  my @ends = (pack('C4', 192, 0, 2, 128 + $source), pack('C4', split /\./, $address));
  my $checksum = sum(pack('C C n n n C C n', @head, 0) . join '', @ends);
  return mac($to) . mac($from) . pack('n', 0x0800) . pack('C C n n n C C n', @head, $checksum) . join('', @ends) . $payload;
}

my $flow = $$ * 7919;
sub next_flow { $flow++; return (($flow >> 15) % 120, 1024 + ($flow & 0x7fff)) }
sub burst {
  return map { frame(2, 2000 + $_ % 64, 16) } 1 .. $frames if $kind eq 'established';
  return map { frame(2, 2000 + $_ % 64) } 1 .. $frames if $kind eq 'same';
  return map { frame(next_flow()) } 1 .. $frames if $kind eq 'new';
  return map { my @flow = next_flow(); map { frame(@flow, $_) } 2, 16, 24, 17, 16 } 1 .. $frames / 5;
}

my @times;
for (1 .. $bursts) {
  my @burst = burst();
  my $begin = clock_gettime(CLOCK_MONOTONIC);
  send($socket, $_, 0) for @burst;
  push @times, clock_gettime(CLOCK_MONOTONIC) - $begin;
}
@times = sort { $a <=> $b } @times;
printf '%d', $times[$bursts / 5] / $frames * 1e9;

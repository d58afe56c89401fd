import type { Host } from '../../../lab/network/host.ts';

const script = String.raw`
use strict;
use IO::Socket::IP;
$| = 1;
my ($address, $port, $text, $count, $pause, $first) = @ARGV;
for my $turn (1 .. $count) {
  my @from = $first ? (LocalPort => $first + $turn - 1) : ();
  my $socket = IO::Socket::IP->new(Proto => "udp", PeerHost => $address, PeerPort => $port, @from) or die "$@\n";
  $socket->send($text);
  my $readable = "";
  vec($readable, fileno($socket), 1) = 1;
  my $answer = "";
  if (select($readable, undef, undef, 1)) { $socket->recv($answer, 1500) // ($answer = "refused") } else { $answer = "silence" }
  print "$answer\n";
  select(undef, undef, undef, $pause) if $turn < $count;
}
`;

/**
 * Sends `count` datagrams one after the other, each from a new port (`firstPort`, the next one …), and waits a second for
 * each answer: the answers, `refused` or `silence`. Pods of netexec answer `hostname` and `clientip`.
 */
export async function askByUdp(
  host: Host,
  {
    address,
    port,
    text,
    count = 1,
    pauseMs = 0,
    firstPort = 0,
  }: {
    readonly address: string;
    readonly port: number;
    readonly text: string;
    readonly count?: number;
    readonly pauseMs?: number;
    readonly firstPort?: number;
  },
): Promise<readonly string[]> {
  const args = [address, String(port), text, String(count), String(pauseMs / 1000), String(firstPort)];
  const { stdout } = await host.exec(['perl', '-e', script, ...args], { timeoutMs: 120_000 });
  return stdout.trimEnd().split('\n');
}

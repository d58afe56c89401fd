import type { Host } from '../../../lab/network/host.ts';
import { eventually } from './eventually.ts';

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

/** A client that asks all the time over one flow, until it is disposed of. */
export type DatagramStream = AsyncDisposable & {
  /** So far. `sources`: the addresses of clients that Pods saw. */
  totals(): StreamTotals;
  /** The totals after `count` more datagrams have been answered or lost. */
  after(count: number): Promise<StreamTotals>;
};

export type StreamTotals = { readonly asked: number; readonly lost: number; readonly sources: readonly string[] };

const streamScript = String.raw`
use strict;
use IO::Socket::IP;
$| = 1;
my ($address, $port) = @ARGV;
my $socket = IO::Socket::IP->new(Proto => "udp", PeerHost => $address, PeerPort => $port) or die "$@\n";
my ($asked, $lost, %sources) = (0, 0);
while (1) {
  $socket->send("clientip");
  my $readable = "";
  vec($readable, fileno($socket), 1) = 1;
  my $answer = "";
  if (select($readable, undef, undef, 1) && defined $socket->recv($answer, 1500)) {
    $answer =~ s/:\d+$//;
    $answer =~ s/^\[(::ffff:)?|\]$//g;
    $sources{$answer} = 1;
  } else { $lost++ }
  $asked++;
  print join(" ", $asked, $lost, sort keys %sources), "\n";
  select(undef, undef, undef, 0.02);
}
`;

/** Starts it on `host`: a datagram every 20 ms, each after the answer to the one before, or after a second. */
export async function startStream(
  host: Host,
  { address, port }: { readonly address: string; readonly port: number },
): Promise<DatagramStream> {
  const ending = new AbortController();
  let last: StreamTotals = { asked: 0, lost: 0, sources: [] };
  const reading = (async () => {
    for await (const line of host.lines(['perl', '-e', streamScript, address, String(port)], ending.signal)) {
      const [asked, lost, ...sources] = line.split(' ');
      last = { asked: Number(asked), lost: Number(lost), sources };
    }
  })().catch((error: unknown) => {
    if (!ending.signal.aborted) throw error;
  });
  const after = async (count: number): Promise<StreamTotals> => {
    const from = last.asked;
    return eventually(() => {
      if (last.asked < from + count) throw new Error(`only ${last.asked - from} of ${count} datagrams`);
      return last;
    }, 60_000);
  };
  await after(1);
  return {
    totals: () => last,
    after,
    [Symbol.asyncDispose]: async () => {
      ending.abort();
      await reading;
    },
  };
}

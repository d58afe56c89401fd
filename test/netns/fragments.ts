import type { Machine, Node } from './net-lab.ts';

/** A part of a datagram of UDP, its header included: from which byte on, how many, and whether more follow. */
export type Fragment = { readonly at: number; readonly bytes: number; readonly more: boolean };

const first: Fragment = { at: 0, bytes: 1_400, more: true };
const second: Fragment = { at: 1_400, bytes: 1_400, more: true };
const last: Fragment = { at: 2_800, bytes: 1_200, more: false };
/** Begins 40 bytes before the end of the first one. */
const overlapping: Fragment = { at: 1_360, bytes: 1_440, more: true };

type Order = 'inOrder' | 'firstOneFirst' | 'reverse' | 'overlapping' | 'withoutFirst';

/** A datagram of 4,000 bytes in the orders in which its fragments are sent. */
export const orders: Readonly<Record<Order, readonly Fragment[]>> = {
  inOrder: [first, second, last],
  firstOneFirst: [first, last, second],
  reverse: [last, second, first],
  overlapping: [first, overlapping, last],
  withoutFirst: [second, last],
};

/** Sends fragments of one datagram, with a number that no other one has. */
export async function sendFragments(
  machine: Machine,
  {
    from,
    to,
    sourcePort,
    port,
  }: { readonly from: string; readonly to: string; readonly sourcePort: number; readonly port: number },
  fragments: readonly Fragment[],
): Promise<void> {
  const parts = fragments.map(({ at, bytes, more }) => `${at}:${bytes}:${more ? 1 : 0}`);
  await machine.exec('perl', '-e', script, from, to, String(sourcePort), String(port), String(++lastNumber), ...parts);
}

let lastNumber = 1_000;

const script = String.raw`
use Socket qw(inet_pton AF_INET AF_INET6);
my ($from, $to, $source_port, $port, $number, @parts) = @ARGV;
my $family = $to =~ /:/ ? AF_INET6 : AF_INET;
my ($source, $destination) = map { inet_pton($family, $_) } $from, $to;
my $body = "x" x 3992;
my $header = pack("nnn", $source_port, $port, 4000);
my $sum = 0;
$sum += $_ for unpack("n*", $source . $destination . pack("nn", 17, 4000) . $header . $body);
$sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
my $datagram = $header . pack("n", ~$sum & 0xffff) . $body;
socket(my $raw, $family, 3, 255) or die "socket: $!\n";               # SOCK_RAW, IPPROTO_RAW
for (@parts) {
  my ($at, $bytes, $more) = split /:/;
  my $part = substr($datagram, $at, $bytes);
  my ($packet, $end);
  if ($family == AF_INET) {
    my $place = ($more ? 0x2000 : 0) | $at >> 3;
    $packet = pack("CCnnnCCna4a4", 0x45, 0, 20 + $bytes, $number, $place, 64, 17, 0, $source, $destination) . $part;
    $end = pack("Sna4x8", AF_INET, 0, $destination);
  } else {
    $packet = pack("NnCCa16a16", 0x60000000, 8 + $bytes, 44, 64, $source, $destination) . pack("CCnN", 17, 0, $at | $more, $number) . $part;
    $end = pack("SnNa16N", AF_INET6, 0, 0, $destination, 0);
  }
  send($raw, $packet, 0, $end) or die "send: $!\n";
}
`;

/** Counts what reaches the node from now on: fragments, and whole datagrams of 4,000 bytes to this port. */
export async function countFragments(node: Node, port: number): Promise<void> {
  await node.nft(`table inet datagrams
delete table inet datagrams
table netdev fragments
delete table netdev fragments
table inet datagrams {
  chain arrive {
    type filter hook input priority 0
    ct state { new, established } udp dport ${port} udp length 4000 counter
  }
}
table netdev fragments {
  chain arrive {
    type filter hook ingress device eth0 priority 0
    ip frag-off & 0x3fff != 0 counter
    exthdr frag exists counter
  }
}`);
}

/** What these nodes have got, by name; without those that have got nothing. */
export async function fragmentsAt(
  nodes: readonly Node[],
): Promise<Readonly<Record<string, { readonly fragments: number; readonly whole: number }>>> {
  const sum = async (node: Node, family: string, table: string): Promise<number> => {
    const listed = await node.exec('nft', 'list', 'table', family, table);
    return [...listed.matchAll(/packets (\d+)/g)].reduce((total, [, packets]) => total + Number(packets), 0);
  };
  const found = await Promise.all(
    nodes.map(async (node) => {
      const [fragments, whole] = [await sum(node, 'netdev', 'fragments'), await sum(node, 'inet', 'datagrams')];
      return [node.name, { fragments, whole }] as const;
    }),
  );
  return Object.fromEntries(found.filter(([, { fragments, whole }]) => fragments + whole > 0));
}

import { askNetlink } from '../../async/netlink.ts';
import { type Ip, ipOf } from '../../core/ip/ip.ts';
import type { ListenerKey } from '../../core/model/names.ts';
import { type ListenerAddress, listenerKey } from '../../core/traffic/table.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Client } from '../../ports/host.ts';
import { protocolNumbers } from './element.ts';
import { flowMark } from './flow-mark.ts';

/*
 * Lists the entries of conntrack that `nat` translates and that the kernel calls *assured* (IPS_ASSURED): of UDP, answered flows
 * that had packets two seconds after their first answer (nf_conntrack_proto_udp.c); of SCTP, associations that are set up. A line for
 * each: protocol, address and port of the listener, address and port of the client. Attributes as in `nat/flows.ts`.
 */
const script = String.raw`
my $mark = pack("N", ${flowMark});
my $socket = hear(12, 0);                                             # NETLINK_NETFILTER
sub attribute { my ($type, $value) = @_; pack("S S a* x!4", 4 + length $value, $type, $value) }
for ([2, 1, 2], [10, 3, 4]) {
  my ($family, $source, $destination) = @$_;
  my $question = attribute(8, $mark) . attribute(21, $mark);
  my $header = pack("L S S x8 C x3", 20 + length $question, 0x101, 0x301, $family);  # IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP
  send($socket, $header . $question, 0) or die "conntrack: $!\n";
  DUMP: while (1) {
    defined recv($socket, my $batch, 1 << 18, 0) or die "conntrack: $!\n";
    while (length($batch) >= 16) {
      my ($length, $type) = unpack("L S", $batch);
      last DUMP if $type == 3;                                        # NLMSG_DONE
      if ($type == 2) { $! = -unpack("x16 l", $batch); die "conntrack: $!\n" }
      my %flow = attributes(substr($batch, 20, $length - 20));
      $batch = after($batch, $length);
      next unless unpack("N", $flow{3}) & 4;                          # IPS_ASSURED
      my %tuple = attributes($flow{1});
      my %address = attributes($tuple{1});
      my %port = attributes($tuple{2});
      my $hex = unpack("H*", $address{$destination}) . " " . unpack("n", $port{3}) . " " . unpack("H*", $address{$source});
      print unpack("C", $port{1}), " $hex ", unpack("n", $port{2}), "\n";
    }
  }
}
`;

/**
 * The clients of the flows that `nat` carries for these listeners and that live: see above. Without listeners that have none. Throws
 * `ExecError` if conntrack cannot be asked.
 */
export async function readFlowClients(
  exec: Exec,
  listeners: readonly ListenerAddress[],
  signal: AbortSignal,
): Promise<ReadonlyMap<ListenerKey, readonly Client[]>> {
  const clients = new Map<ListenerKey, Client[]>();
  if (listeners.length === 0) return clients;
  const wanted = new Map(
    listeners.map(({ address, port, protocol }) => [
      `${protocolNumbers[protocol]} ${address.text} ${port}`,
      listenerKey(address, port, protocol),
    ]),
  );
  for (const line of (await askNetlink(exec, script, '', signal)).split('\n')) {
    const [protocol = '', vip = '', port = '', client = '', clientPort = ''] = line.split(' ');
    if (clientPort === '') continue;
    const key = wanted.get(`${protocol} ${addressOf(vip).text} ${port}`);
    if (key === undefined) continue;
    const those = clients.get(key) ?? [];
    those.push({ address: addressOf(client), port: Number(clientPort) });
    clients.set(key, those);
  }
  return clients;
}

/** From its bytes in hex, in network byte order. */
function addressOf(hex: string): Ip {
  return ipOf(hex.length === 8 ? 4 : 6, BigInt(`0x${hex}`));
}

import { askNetlink } from '../../async/netlink.ts';
import type { Ip } from '../../core/ip/ip.ts';
import type { BackendId, ListenerKey } from '../../core/model/names.ts';
import type { Listener, ListenerAddress, TrafficTable } from '../../core/traffic/table.ts';
import type { Exec } from '../../ports/exec.ts';
import { protocolNumbers } from '../nftables/element.ts';
import type { FlowPlaces } from './program.ts';
import { flowMark } from '../nftables/flow-mark.ts';

/** Questions to ctnetlink, in perl. No such entry is an answer, too. */
const asking = String.raw`my $socket = hear(12, 0);                                             # NETLINK_NETFILTER
sub attribute { my ($type, $value) = @_; pack("S S a* x!4", 4 + length $value, $type, $value) }
sub nested { my ($type, @inner) = @_; attribute($type | 0x8000, join("", @inner)) }
sub ask {                                                             # the answers' bodies to react
  my ($type, $flags, $family, $body, $react) = @_;
  send($socket, pack("L S S x8 C x3 a*", 20 + length $body, 1 << 8 | $type, $flags, $family, $body), 0) or die "conntrack: $!\n";
  while (1) {
    defined recv($socket, my $batch, 1 << 18, 0) or die "conntrack: $!\n";
    while (length($batch) >= 16) {
      my ($length, $answer) = unpack("L S", $batch);
      if ($answer == 2) { $! = -unpack("x16 l", $batch); return if $! == 0 || $!{ENOENT}; die "conntrack: $!\n" }
      return if $answer == 3;
      $react->(substr($batch, 20, $length - 20));
      $batch = after($batch, $length);
    }
  }
}
`;

/** Asks for an entry that no host has. Throws `ExecError` if conntrack cannot be asked. */
export async function tryConntrack(exec: Exec, signal: AbortSignal): Promise<void> {
  await askNetlink(exec, `${asking}${trial}`, '', signal);
}

const trial = String.raw`
my $ports = nested(2, attribute(1, pack("C", 17)), attribute(2, pack("n", 1)), attribute(3, pack("n", 1)));
ask(1, 5, 2, nested(1, nested(1, attribute(1, pack("N", 0)), attribute(2, pack("N", 0))), $ports), sub {});  # IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_ACK
`;

/** Flows that may be where they should not. */
export type FlowSweep = {
  readonly listeners: TrafficTable['listeners'];
  readonly places: FlowPlaces;
  /** Listeners whose flows are all inspected, also those that are not translated: they are new, changed or gone. */
  readonly changed: ReadonlyMap<ListenerKey, ListenerAddress>;
  /** Also inspects all translated flows: nodes have changed, or an earlier process did not see what changed. */
  readonly isWhole: boolean;
};

/*
 * Deletes entries of conntrack, so that the next packet of such a flow is the first one of another:
 *
 *   to a listener, not translated          the client sent before the listener came: nothing would ever translate it. An
 *                                          established TCP connection is another's (HAProxy's), and stays
 *   translated, no listener                the Service is gone
 *   translated, to another port            its nodePort has changed
 *   translated, to no node of the backend  the node is gone; a TCP connection to it stays: it may be draining
 *   translated, to a lost node             it is silent
 *
 * All others stay. The kernel selects by mark, or by address and port of a listener (before Linux 5.8 perl does); entries are
 * deleted one by one, with their identifiers. The program `conntrack` would read the whole table for each of these questions.
 *
 * A message of ctnetlink: header, nfgenmsg (family, version, resource), attributes. A tuple: 1 addresses (1, 2 of IPv4, 3, 4 of
 * IPv6: source, destination), 2 protocol (1 number, 2 source port, 3 destination port). Of an entry: 1 original tuple, 2 reply
 * tuple, 3 status, 8 mark, 12 identifier, 18 zone; of a question also 21 mask of the mark, 25 filter.
 * (include/uapi/linux/netfilter/nfnetlink_conntrack.h)
 */
const script = String.raw`
${asking}my $most = 64;                                                        # listeners to ask for one by one
my ($isWhole, %known, %changed, %members, %lost, @stale);
while (<STDIN>) {
  my ($what, @words) = split;
  if ($what eq "whole") { $isWhole = 1 }
  elsif ($what eq "lost") { $lost{pack("H*", $_)} = 1 for @words }
  elsif ($what eq "members") { my $name = shift @words; $members{$name}{pack("H*", $_)} = 1 for @words }
  else {
    my ($protocol, $address, $port, $target, $backend) = @words;
    my $key = pack("C n H*", $protocol, $port, $address);
    $known{$key} = [$target, $backend] if defined $target;
    $changed{$key} = 1 if $what eq "changed";
  }
}
my $mark = ${flowMark};
sub isStale {
  my ($family, %flow) = @_;
  my ($source, $destination) = $family == 2 ? (1, 2) : (3, 4);
  my %to = attributes($flow{1});
  my %port = attributes($to{2});
  my $protocol = unpack("C", $port{1});
  my $key = pack("C a2 a*", $protocol, $port{3} // "", {attributes($to{1})}->{$destination} // "");
  my $isOurs = unpack("N", $flow{8} // pack("N", 0)) & $mark;
  my $listener = $known{$key};
  return $isOurs && ($isWhole || $changed{$key}) unless $listener;
  return $changed{$key} && !($protocol == 6 && unpack("N", $flow{3}) & 4) unless $isOurs;  # IPS_ASSURED
  my %from = attributes($flow{2});
  my $node = {attributes($from{1})}->{$source};
  my ($target, $backend) = @$listener;
  return 1 if unpack("n", {attributes($from{2})}->{2}) != $target || $lost{$node};
  return $protocol != 6 && !$members{$backend}{$node};
}
my %verdicts;                                                         # of a busy listener, thousands of flows have the same one
sub hasToGo {
  my ($family, $flow) = @_;
  my ($to, $from, $size) = (@$flow{1, 2}, $family == 2 ? 4 : 16);
  return isStale($family, %$flow) if grep { length != 40 + 2 * $size } $to, $from;
  my $ports = 28 + 2 * $size;                                         # without the client, of which nothing depends:
  substr($to, $ports, 2, "");
  substr($to, 8, $size, "");
  substr($from, $ports + 8, 2, "");
  substr($from, 12 + $size, $size, "");
  my $isAssured = unpack("N", $flow->{3}) & 4;
  return $verdicts{join(" ", $isAssured, $flow->{8} // "", $to, $from)} //= isStale($family, %$flow) || 0;
}
sub inspect {
  my ($family, $question) = @_;
  ask(1, 0x301, $family, $question, sub {                             # IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP
    my %flow = attributes($_[0]);
    return unless hasToGo($family, \%flow);
    my $entry = nested(1, $flow{1}) . attribute(12, $flow{12}) . (defined $flow{18} ? attribute(18, $flow{18}) : "");
    push @stale, [$family, $entry];
  });
}
sub marked { my ($value) = @_; attribute(8, pack("N", $value)) . attribute(21, pack("N", $mark)) }
for ([2, 4], [10, 16]) {
  my ($family, $size) = @$_;
  my @changed = grep { length($_) == 3 + $size } keys %changed;
  if (@changed > $most) { inspect($family, ""); next }
  inspect($family, marked($mark)) if $isWhole;
  my $others = $isWhole ? marked(0) : "";                             # each flow once
  for (@changed) {
    my ($protocol, $port, $address) = unpack("a a2 a*", $_);
    my $tuple = nested(1, nested(1, attribute($family == 2 ? 2 : 4, $address)), nested(2, attribute(1, $protocol), attribute(3, $port)));
    my $byAddress = $family == 2 ? 1 << 1 : 0;                        # of IPv6 the kernel selects all but the address
    inspect($family, $others . $tuple . nested(25, attribute(1, pack("L", $byAddress | 1 << 3 | 1 << 5))));
  }
}
ask(2, 5, @$_, sub {}) for @stale;                                    # IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST | NLM_F_ACK
print scalar(@stale);
`;

/** Ends these flows in the kernel; resolves with their number. Throws `ExecError` if conntrack cannot be asked. */
export async function endStaleFlows(exec: Exec, sweep: FlowSweep, signal: AbortSignal): Promise<number> {
  const { listeners, places, changed, isWhole } = sweep;
  const lines: string[] = [];
  if (isWhole) lines.push('whole');
  lines.push(['lost', ...places.lost.map(hexOf)].join(' '));
  const asked = isWhole ? listeners.keys() : changed.keys();
  const used = new Set(Array.from(asked, (key) => listeners.get(key)?.backend));
  for (const backend of used) {
    const members = backend && (places.members.get(backend) ?? places.hosted.get(backend));
    if (backend !== undefined && members !== undefined)
      lines.push(['members', nameOf(backend), ...members.map(hexOf)].join(' '));
  }
  const lineOf = (what: 'known' | 'changed', address: ListenerAddress, listener: Listener | undefined): string =>
    [what, textOf(address), ...(listener === undefined ? [] : [listener.targetPort, nameOf(listener.backend)])].join(
      ' ',
    );
  for (const [key, address] of changed) lines.push(lineOf('changed', address, listeners.get(key)));
  if (isWhole)
    for (const [key, listener] of listeners) if (!changed.has(key)) lines.push(lineOf('known', listener, listener));
  return Number(await askNetlink(exec, script, `${lines.join('\n')}\n`, signal));
}

function textOf({ address, protocol, port }: ListenerAddress): string {
  return `${protocolNumbers[protocol]} ${hexOf(address)} ${port}`;
}

/** In network byte order. */
function hexOf({ family, value }: Ip): string {
  return value.toString(16).padStart(family === 4 ? 8 : 32, '0');
}

/** A word without spaces. */
function nameOf(backend: BackendId): string {
  return Buffer.from(backend).toString('hex');
}

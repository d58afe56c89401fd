import { hearNetlink } from '../async/netlink.ts';
import type { Exec } from '../ports/exec.ts';

/** A change of this host's network, reported by the kernel. */
export type NetworkEvent =
  /** An interface was added or changed. `isRunning`: it is up and has a carrier. */
  | {
      readonly kind: 'link';
      readonly index: number;
      readonly name: string;
      readonly isRunning: boolean;
      readonly mac: string;
    }
  | { readonly kind: 'link gone'; readonly index: number }
  | {
      readonly kind: 'added' | 'removed';
      readonly address: string;
      readonly prefixLength: number;
      /** The kernel's number of the interface. */
      readonly index: number;
    }
  /**
   * Routes were added or removed; not those that the kernel adds with an address. Of routes other than default ones, a router may
   * have a million: they are reported at most once in a second.
   */
  | { readonly kind: 'route' }
  /** Forwarding was switched on or off, for an interface or for the host. */
  | { readonly kind: 'forwarding' }
  /** Any change is possible: before the watch started, or after events were lost. */
  | { readonly kind: 'unsure' };

/*
 * Behind the header of a message (rtnetlink(7)): ifinfomsg (family, type, index, flags), ifaddrmsg (family, prefix length,
 * flags, scope, index), rtmsg (family, destination length, source length, TOS, table) or netconfmsg (family), then attributes.
 * Of a link, IFLA_ADDRESS is 1 and IFLA_IFNAME 3; of an address, IFA_ADDRESS is 1 and IFA_LOCAL 2; of settings,
 * NETCONFA_FORWARDING is 2 and NETCONFA_PROXY_NEIGH 5. Messages about links with family AF_BRIDGE are about ports of a bridge.
 */
const script = String.raw`
use Socket qw(AF_INET AF_INET6 inet_ntop);
my $groups = 1 | 1 << 4 | 1 << 8 | 1 << 6 | 1 << 10;                  # LINK, IPV4_IFADDR, IPV6_IFADDR, IPV4_ROUTE, IPV6_ROUTE
$groups |= 1 << 23 | 1 << 24;                                         # IPV4_NETCONF, IPV6_NETCONF
serve([hear(0, $groups), sub {                                        # NETLINK_ROUTE
  my ($type, $body) = @_;
  if ($type == 16 || $type == 17) {                                   # RTM_NEWLINK, RTM_DELLINK
    my ($family, $index, $flags) = unpack("Cx3lL", $body);
    return unless $family == 0;
    if ($type == 17) { print "gone $index\n"; return }
    my %value = attributes(substr($body, 16));
    my $mac = join ":", unpack("(H2)*", $value{1} // "");
    my $name = unpack("Z*", $value{3} // "");
    my $running = ($flags & 0x10041) == 0x10041 ? 1 : 0;              # IFF_UP, IFF_RUNNING, IFF_LOWER_UP
    print "link $index $running $name $mac\n";
  } elsif ($type == 24 || $type == 25) {                              # RTM_NEWROUTE, RTM_DELROUTE
    my ($size, $table, $protocol) = unpack("xCxxCC", $body);
    return if $table != 254;                                          # RT_TABLE_MAIN
    if ($size == 0) { print "route\n" } elsif ($protocol != 2) { rarely("route\n") }      # RTPROT_KERNEL: of an address
  } elsif ($type == 80) {                                             # RTM_NEWNETCONF
    my %value = attributes(substr($body, 4));
    print "forwarding\n" if defined $value{2} && !defined $value{5};   # all settings: of a new interface
  } elsif ($type == 20 || $type == 21) {                              # RTM_NEWADDR, RTM_DELADDR
    my ($family, $size, $index) = unpack("CCx2L", $body);
    my %value = attributes(substr($body, 8));
    my $address = $value{2} // $value{1};
    return unless defined $address && length($address) == ($family == 2 ? 4 : 16);
    my $text = inet_ntop($family == 2 ? AF_INET : AF_INET6, $address);
    print(($type == 20 ? "added" : "removed") . " $index $size $text\n");
  }
}]);
`;

/**
 * Changes of interfaces, addresses and routes, as they happen; the first event is always `unsure`. Ends with
 * `signal`; throws `ExecError` when it can no longer listen.
 */
export async function* watchNetwork(exec: Exec, signal: AbortSignal): AsyncGenerator<NetworkEvent, void> {
  for await (const line of hearNetlink(exec, script, signal)) yield decodeEvent(line);
}

/** Reads a line of the script; an unknown line counts as `unsure`. */
function decodeEvent(line: string): NetworkEvent {
  const [kind = '', number = '', second = '', third = '', mac = ''] = line.split(' ');
  const index = Number(number);
  switch (kind) {
    case 'link':
      return { kind, index, isRunning: second === '1', name: third, mac };
    case 'gone':
      return { kind: 'link gone', index };
    case 'added':
    case 'removed':
      return { kind, index, prefixLength: Number(second), address: third };
    case 'route':
    case 'forwarding':
      return { kind };
    default:
      return { kind: 'unsure' };
  }
}

import { type Exec, ExecError } from '../ports/exec.ts';

/** What the kernel told of this host's network. */
export type NetworkEvent =
  /** An interface came, went, or changed its state or name. */
  | { readonly kind: 'link' }
  | { readonly kind: 'added' | 'removed'; readonly address: string }
  /** A default route came or went. */
  | { readonly kind: 'route' }
  /** Anything may have happened: before we listened, or when the kernel had more to say than we could take. */
  | { readonly kind: 'unsure' };

/*
 * perl, which every Debian has, listens to rtnetlink(7): `ip monitor` tells the same, but its lines cannot be told apart
 * for certain. A message: header (length, type, flags, sequence, port), then ifinfomsg, ifaddrmsg (family, prefix length,
 * flags, scope, index) or rtmsg (family, destination length, …), then attributes. IFA_ADDRESS is 1, IFA_LOCAL 2.
 */
const script = String.raw`
use strict;
use Errno;
use Socket qw(AF_INET AF_INET6 inet_ntop);
$| = 1;
my $groups = 1 | 1 << 4 | 1 << 8 | 1 << 6 | 1 << 10;                  # LINK, IPV4_IFADDR, IPV6_IFADDR, IPV4_ROUTE, IPV6_ROUTE
socket(my $kernel, 16, 3, 0) or die "netlink: $!\n";                  # AF_NETLINK, SOCK_RAW, NETLINK_ROUTE
setsockopt($kernel, 1, 33, pack("l", 8 << 20));                       # SO_RCVBUFFORCE
bind($kernel, pack("SSLL", 16, 0, 0, $groups)) or die "netlink: $!\n";
my $all = "";
vec($all, fileno($_), 1) = 1 for $kernel, *STDIN;
print "unsure\n";
sub after { my ($text, $size) = @_; $size = ($size + 3) & ~3; $size < length($text) ? substr($text, $size) : "" }
while (1) {
  select(my $readable = $all, undef, undef, undef);
  exit if vec($readable, fileno(STDIN), 1);                           # who started us has ended
  my $batch = "";
  if (!defined recv($kernel, $batch, 1 << 18, 0)) {
    die "netlink: $!\n" unless $!{ENOBUFS};
    print "unsure\n";
    next;
  }
  while (length($batch) >= 16) {
    my ($length, $type) = unpack("LS", $batch);
    last if $length < 16 || $length > length($batch);
    my $body = substr($batch, 16, $length - 16);
    $batch = after($batch, $length);
    if ($type == 16 || $type == 17) { print "link\n"; next }          # RTM_NEWLINK, RTM_DELLINK
    if ($type == 24 || $type == 25) {                                 # RTM_NEWROUTE, RTM_DELROUTE
      print "route\n" if unpack("x1C", $body) == 0;
      next;
    }
    next unless $type == 20 || $type == 21;                           # RTM_NEWADDR, RTM_DELADDR
    my $family = unpack("C", $body);
    my $attributes = substr($body, 8);
    my %value;
    while (length($attributes) >= 4) {
      my ($size, $name) = unpack("SS", $attributes);
      last if $size < 4 || $size > length($attributes);
      $value{$name & 0x3fff} = substr($attributes, 4, $size - 4);
      $attributes = after($attributes, $size);
    }
    my $address = $value{2} // $value{1};
    next unless defined $address && length($address) == ($family == 2 ? 4 : 16);
    print(($type == 20 ? "+ " : "- ") . inet_ntop($family == 2 ? AF_INET : AF_INET6, $address) . "\n");
  }
}
`;

/**
 * Changes of interfaces, addresses and default routes, as they happen; the first event is always `unsure`. Ends with
 * `signal`; throws `ExecError` when it can no longer listen.
 */
export async function* watchNetwork(exec: Exec, signal: AbortSignal): AsyncGenerator<NetworkEvent, void> {
  await using perl = exec.converse('perl', ['-e', script], signal);
  for await (const line of perl.lines) {
    if (line === 'unsure' || line === 'link' || line === 'route') yield { kind: line };
    else yield { kind: line.startsWith('+') ? 'added' : 'removed', address: line.slice(2) };
  }
  const exitCode = await perl.exited;
  if (!signal.aborted) throw new ExecError('perl', exitCode, perl.takeErrors());
}

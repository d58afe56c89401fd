import { type Exec, ExecError } from '../../ports/exec.ts';

/** A change in the kernel that may concern furiwake's table or routing rules. */
export type KernelEvent =
  /**
   * A transaction changed the table. `generation` is the one that it added; 0 means none, so another program made it.
   */
  | { readonly kind: 'table'; readonly generation: number }
  /** A routing rule was added or deleted. */
  | { readonly kind: 'rules' }
  /** Any change is possible: before the watch started, or after messages were lost. */
  | { readonly kind: 'unsure' };

/*
 * `nft monitor` 1.0.6 keeps every element that it has seen (1 kB each; 55 MB at the start with 10,000 listeners and
 * ranges) and crashes on an interval set of concatenations. So perl, which every Debian has, listens to netlink itself.
 *
 * A message: header (length, type, flags, sequence, port), nfgenmsg (family first), attributes. Attribute 1 of every
 * nf_tables message is the table's name. Of an element, 2 is the set's name and 3 the element, the key's four bytes
 * behind three attribute headers. NEWGEN ends a transaction. (include/uapi/linux/netfilter/nf_tables.h)
 */
const script = String.raw`
use strict;
use Errno;
$| = 1;
sub hear {
  my ($protocol, $groups) = @_;
  socket(my $socket, 16, 3, $protocol) or die "netlink: $!\n";        # AF_NETLINK, SOCK_RAW
  setsockopt($socket, 1, 33, pack("l", 8 << 20));                     # SO_RCVBUFFORCE
  bind($socket, pack("SSLL", 16, 0, 0, $groups)) or die "netlink: $!\n";
  return $socket;
}
sub after { my ($text, $size) = @_; $size = ($size + 3) & ~3; $size < length($text) ? substr($text, $size) : "" }
my $tables = hear(12, 1 << 6);                                        # NETLINK_NETFILTER, group 7: nf_tables
my $rules = hear(0, 1 << 7 | 1 << 18);                                # NETLINK_ROUTE, groups 8 and 19: rules
my $all = "";
vec($all, fileno($_), 1) = 1 for $tables, $rules, *STDIN;
print "unsure\n";
my ($touched, $generation) = (0, 0);
while (1) {
  select(my $readable = $all, undef, undef, undef);
  exit if vec($readable, fileno(STDIN), 1);                           # furiwake has ended
  my $batch = "";
  if (vec($readable, fileno($rules), 1)) {
    recv($rules, $batch, 1 << 18, 0);
    print "rules\n";
    next;
  }
  if (!defined recv($tables, $batch, 1 << 18, 0)) {
    die "netlink: $!\n" unless $!{ENOBUFS};
    print "unsure\n";
    next;
  }
  while (length($batch) >= 20) {
    my ($length, $type, $family) = unpack("LSx10C", $batch);
    last if $length < 20 || $length > length($batch);
    my $attributes = substr($batch, 20, $length - 20);
    $batch = after($batch, $length);
    next unless $type >> 8 == 10;                                     # NFNL_SUBSYS_NFTABLES
    if (($type & 255) == 15) {                                        # NFT_MSG_NEWGEN
      print "$generation\n" if $touched;
      ($touched, $generation) = (0, 0);
      next;
    }
    my %value;
    while (length($attributes) >= 4) {
      my ($size, $name) = unpack("SS", $attributes);
      last if $size < 4 || $size > length($attributes);
      $value{$name & 0x3fff} = substr($attributes, 4, $size - 4);
      $attributes = after($attributes, $size);
    }
    next unless $family == 1 && ($value{1} // "") eq "furiwake\0";    # NFPROTO_INET
    $touched = 1;
    next unless ($type & 255) == 12 && $value{2} eq "generation\0";   # NFT_MSG_NEWSETELEM
    $generation = unpack("L", substr($value{3}, 12, 4));
  }
}
`;

/**
 * Changes as they happen; the first event is always `unsure`. Ends with `signal`; throws `ExecError` if the listening
 * program ends.
 */
export async function* watchKernel(exec: Exec, signal: AbortSignal): AsyncGenerator<KernelEvent, void> {
  await using perl = exec.converse('perl', ['-e', script], signal);
  for await (const line of perl.lines) {
    if (line === 'unsure' || line === 'rules') yield { kind: line };
    else yield { kind: 'table', generation: Number(line) };
  }
  const exitCode = await perl.exited;
  if (!signal.aborted) throw new ExecError('perl', exitCode, perl.takeErrors());
}

import { type Conversation, type Exec, ExecError } from '../../ports/exec.ts';

/*
 * Who changed our table? `nft monitor` would tell, but 1.0.6 keeps every element that it ever saw (1 kB each, for ever;
 * 55 MB at the start with 10,000 listeners and ranges) and dies of an interval set of concatenations. So perl, which
 * every Debian has, listens to the kernel itself and says one line per transaction that touched the table: the
 * generation that it put in place (one of ours), or 0 (somebody else's).
 *
 * A message: header (length, type, flags, sequence, port), nfgenmsg (family first), attributes. Attribute 1 of every
 * nf_tables message is the table's name. Of an element, 2 is the set's name and 3 the element, the key's four bytes
 * behind three attribute headers. NEWGEN ends a transaction. (include/uapi/linux/netfilter/nf_tables.h)
 */
const script = String.raw`
use strict;
use Errno;
$| = 1;
sub after { my ($text, $size) = @_; $size = ($size + 3) & ~3; $size < length($text) ? substr($text, $size) : "" }
socket(my $kernel, 16, 3, 12) or die "netlink: $!\n";                 # AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER
setsockopt($kernel, 1, 33, pack("l", 8 << 20));                       # SO_RCVBUFFORCE
bind($kernel, pack("SSLL", 16, 0, 0, 1 << 6)) or die "netlink: $!\n"; # group 7: nf_tables
print "ready\n";
my ($touched, $generation) = (0, 0);
while (1) {
  my $batch = "";
  if (!defined recv($kernel, $batch, 1 << 18, 0)) {
    die "netlink: $!\n" unless $!{ENOBUFS};
    print "lost\n";
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
 * What happens to table `inet furiwake`, as it happens: the generation that a transaction put in place, or 0 for one
 * that put none and whenever somebody may have changed it unseen (before we listened, or when the kernel had more to
 * say than we could take). Ends with `signal`; throws `ExecError` when it can no longer listen.
 */
export async function* watchTable(exec: Exec, signal: AbortSignal): AsyncGenerator<number, void> {
  await using perl = exec.converse('perl', ['-e', script], signal);
  for await (const line of perl.lines) yield /^\d+$/.test(line) ? Number(line) : 0;
  await ended('perl', perl, signal);
}

/** Something was done to the routing rules. Ends and throws as {@link watchTable}. */
export async function* watchRules(exec: Exec, signal: AbortSignal): AsyncGenerator<void, void> {
  await using ip = exec.converse('ip', ['monitor', 'rule'], signal);
  for await (const line of ip.lines) if (line !== '') yield;
  await ended('ip monitor rule', ip, signal);
}

async function ended(command: string, program: Conversation, signal: AbortSignal): Promise<void> {
  const exitCode = await program.exited;
  if (!signal.aborted) throw new ExecError(command, exitCode, program.takeErrors());
}

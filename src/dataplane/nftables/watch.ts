import { hearNetlink } from '../../async/netlink.ts';
import type { Exec } from '../../ports/exec.ts';
import type { TableSpec } from './table-text.ts';

/** A change in the kernel that may concern furiwake's table or routing rules. */
export type KernelEvent =
  /**
   * A transaction changed the table. `generation` is the one that it added; 0 means none, so another program made it. `isGone`: it
   * deleted the table, and made no other.
   */
  | { readonly kind: 'table'; readonly generation: number; readonly isGone: boolean }
  /** A routing rule was deleted. */
  | { readonly kind: 'rules' }
  /** Any change is possible: before the watch started, or after messages were lost. */
  | { readonly kind: 'unsure' };

/*
 * `nft monitor` 1.0.6 keeps every element that it has seen (1 kB each; 55 MB at the start with 10,000 listeners and
 * ranges) and crashes on an interval set of concatenations.
 *
 * Behind the header of a message: nfgenmsg (family first), attributes. Attribute 1 of every nf_tables message is the
 * table's name. Of an element, 2 is the set's name and 3 the element, the key's four bytes behind three attribute
 * headers. NEWGEN ends a transaction. (include/uapi/linux/netfilter/nf_tables.h)
 */
const script = (family: number, table: string): string => String.raw`
my ($touched, $generation, $isGone) = (0, 0, 0);
my $rules = hear(0, 1 << 7 | 1 << 18);                                # NETLINK_ROUTE, groups 8 and 19: rules
my $tables = hear(12, 1 << 6);                                        # NETLINK_NETFILTER, group 7: nf_tables
my $removed = sub { print "rules\n" if $_[0] == 33 };                 # RTM_DELRULE
serve([$rules, $removed], [$tables, sub {
  my ($type, $body) = @_;
  return unless $type >> 8 == 10;                                     # NFNL_SUBSYS_NFTABLES
  if (($type & 255) == 15) {                                          # NFT_MSG_NEWGEN
    print "$generation $isGone\n" if $touched;
    ($touched, $generation, $isGone) = (0, 0, 0);
    return;
  }
  my %value = attributes(substr($body, 4));
  return unless unpack("C", $body) == ${family} && ($value{1} // "") eq "${table}\0";
  $touched = 1;
  $isGone = 0 if ($type & 255) == 0;                                  # NFT_MSG_NEWTABLE
  $isGone = 1 if ($type & 255) == 2;                                  # NFT_MSG_DELTABLE
  return unless ($type & 255) == 12 && $value{2} eq "generation\0";   # NFT_MSG_NEWSETELEM
  $generation = unpack("L", substr($value{3}, 12, 4));
}]);
`;

/**
 * Changes as they happen; the first event is always `unsure`. Ends with `signal`; throws `ExecError` if the listening
 * program ends.
 */
export async function* watchKernel(
  exec: Exec,
  { name, family }: Pick<TableSpec, 'name' | 'family'>,
  signal: AbortSignal,
): AsyncGenerator<KernelEvent, void> {
  for await (const line of hearNetlink(exec, script(family, name.split(' ')[1] ?? ''), signal)) {
    if (line === 'unsure' || line === 'rules') yield { kind: line };
    else {
      const [generation, isGone] = line.split(' ');
      yield { kind: 'table', generation: Number(generation), isGone: isGone === '1' };
    }
  }
}

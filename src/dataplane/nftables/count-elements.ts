import * as z from 'zod';
import { decodedAnswer, type Exec } from '../../ports/exec.ts';
import type { TableSpec } from './table-text.ts';

/*
 * nft prints elements in order to count them: a second for 65,000. perl only asks the kernel for them, and counts: 50 ms.
 *
 * A message: header (length, type, flags, sequence, port; 16 bytes), nfgenmsg (4 bytes), attributes (length, number). Of a dump
 * of elements, attribute 3 is the list of them. (include/uapi/linux/netfilter/nf_tables.h)
 */
const script = String.raw`
use strict;
my ($family, $table, @sets) = @ARGV;
socket(my $netlink, 16, 3, 12) or die "netlink: $!\n";                # AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER
sub attribute { my ($number, $text) = @_; $text .= "\0"; pack("SSa" . (length($text) + 3 & ~3), 4 + length($text), $number, $text) }
sub countOf {
  my $body = pack("CCn", $family, 0, 0) . attribute(1, $table) . attribute(2, shift);
  send($netlink, pack("LSSLL", 16 + length($body), 10 << 8 | 13, 0x301, 0, 0) . $body, 0) or die "netlink: $!\n";  # GETSETELEM, a dump
  my $count = 0;
  while (1) {
    defined recv($netlink, my $batch, 1 << 18, 0) or die "netlink: $!\n";
    for (my $start = 0; $start + 16 <= length($batch);) {
      my ($length, $type) = unpack("LS", substr($batch, $start, 6));
      return $count if $type == 3;                                    # NLMSG_DONE
      return 0 if $type == 2;                                         # NLMSG_ERROR: there is no such set
      my $end = $start + $length;
      for (my $at = $start + 20; $at + 4 <= $end;) {
        my ($size, $number) = unpack("SS", substr($batch, $at, 4));
        if (($number & 0x3fff) == 3) {
          for (my $element = $at + 4; $element + 4 <= $at + $size; $count++) {
            $element += unpack("S", substr($batch, $element, 2)) + 3 & ~3;
          }
        }
        $at += $size + 3 & ~3;
      }
      $start += $length + 3 & ~3;
    }
  }
}
print countOf($_), "\n" for @sets;
`;

const counts = z.array(z.coerce.number().int());

/** How many elements these sets of a table have; 0 without the set. Throws `ExecError` if perl fails. */
export async function countElements<Name extends string>(
  exec: Exec,
  { name, family }: Pick<TableSpec, 'name' | 'family'>,
  sets: readonly Name[],
  signal: AbortSignal,
): Promise<Readonly<Record<Name, number>>> {
  const args = ['-e', script, String(family), name.split(' ')[1] ?? '', ...sets];
  const { stdout } = await exec.run('perl', args, { signal });
  const found = decodedAnswer('perl', counts, stdout.trimEnd().split('\n'));
  return Object.fromEntries(sets.map((set, index) => [set, found[index] ?? 0])) as Record<Name, number>;
}

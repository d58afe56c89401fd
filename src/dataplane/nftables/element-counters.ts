import { askNetlink } from '../../async/netlink.ts';
import type { Exec } from '../../ports/exec.ts';
import { dumpRequest, elementRequest, readElements } from './element-messages.ts';
import type { TableSpec } from './table-text.ts';

/** What the kernel has counted at an element of a set. Bytes from the IP header on. */
export type ElementCounter = { readonly packets: number; readonly bytes: number };

/** The counters of a set, by the keys of its elements (`element-keys.ts`). */
export type SetCounters = ReadonlyMap<string, ElementCounter>;

/*
 * nft reads whole sets, whatever it is asked (`get element`, too): a second for 10,000 listeners. So perl sends requests to the
 * kernel, a line of them at a time, and prints its answers; both in hex. Each request ends with an error, which may be 0, or with
 * the end of a list.
 */
const script = String.raw`
my $socket = hear(12, 0);                                             # NETLINK_NETFILTER
while (my $line = <STDIN>) {
  chomp $line;
  my $requests = pack("H*", $line);
  send($socket, $requests, 0) or die "nftables: $!\n";
  my $open = 0;
  for (my $at = 0; $at < length($requests); $open++) { $at += unpack("L", substr($requests, $at, 4)) }
  while ($open > 0) {
    defined recv($socket, my $batch, 1 << 18, 0) or die "nftables: $!\n";
    print unpack("H*", $batch), "\n";
    for (my $at = 0; $at < length($batch);) {
      my ($length, $type) = unpack("L S", substr($batch, $at, 6));
      $open-- if $type == 2 || $type == 3;                            # NLMSG_ERROR, NLMSG_DONE
      $at += $length + 3 & ~3;
    }
  }
}
`;

/** So many answers fit into the buffer of a socket. */
const mostRequests = 200;
/** How often a set is listed that changes meanwhile. */
const mostLists = 3;

/**
 * The counters of these elements of each set, or of all. Those that have counted nothing, or do not exist, are missing.
 * Throws `ExecError` if perl fails.
 */
export async function readElementCounters<Name extends string>(
  exec: Exec,
  table: Pick<TableSpec, 'name' | 'family'>,
  wanted: Readonly<Record<Name, readonly string[] | 'all'>>,
  signal: AbortSignal,
): Promise<Readonly<Record<Name, SetCounters>>> {
  const sets = Object.entries<readonly string[] | 'all'>(wanted);
  const lines = sets.flatMap(([set, keys]) =>
    keys === 'all' ? [dumpRequest(table, set)] : batches(keys.map((key) => elementRequest(table, set, key))),
  );
  const counters = new Map(sets.map(([set]) => [set, new Map<string, ElementCounter>()]));
  const input = lines.map((line) => `${line.toString('hex')}\n`).join('');
  for (let list = 0; lines.length > 0 && list < mostLists; list++) {
    const answers = (await askNetlink(exec, script, input, signal)).trimEnd().split('\n');
    const isWhole = answers.map((answer) =>
      readElements(Buffer.from(answer, 'hex'), (set, key, counter) => counters.get(set)?.set(key, counter)),
    );
    if (!isWhole.includes(false)) break;
  }
  return Object.fromEntries(counters) as Record<string, SetCounters> as Record<Name, SetCounters>;
}

function batches(requests: readonly Buffer[]): readonly Buffer[] {
  const found: Buffer[] = [];
  for (let start = 0; start < requests.length; start += mostRequests)
    found.push(Buffer.concat(requests.slice(start, start + mostRequests)));
  return found;
}

import { type Exec, ExecError } from '../ports/exec.ts';
import { decodeNeighbour, type Neighbour } from './frames.ts';
import { perlSockets } from './perl-sockets.ts';

/*
 * Prints in hex ARP whose sender and target are one address, as gratuitous ARP and ARP announcements are, and neighbour
 * advertisements. Other ARP of the LAN does not concern a host that only answers: answers go to the one who asked. Frames that
 * this host sends do not arrive here.
 */
const script = String.raw`${perlSockets}
my ($second, %seen) = (0);
print "listening\n";
receive(sub {
  my ($socket, $frame) = @_;
  return if $socket == $link && substr($frame, 28, 4) ne substr($frame, 38, 4);           # sender and target protocol address
  my $address = substr($frame, $socket == $link ? 28 : 8, $socket == $link ? 4 : 16);
  if (time != $second) { $second = time; %seen = () }
  return if $seen{$address}++ || keys %seen > 20_000;                                     # a flood does not reach furiwake
  print unpack("H*", $frame), "\n";
});
`;

/**
 * What machines on the LAN announce about their addresses: `listening` at first, when all announcements from now on are heard, then
 * each, at most once a second for an address. Ends with `signal`; throws `ExecError` when perl ends.
 */
export async function* hearAnnouncements(
  exec: Exec,
  signal: AbortSignal,
): AsyncGenerator<Neighbour | 'listening', void> {
  await using perl = exec.spawn('perl', ['-e', script], signal);
  for await (const line of perl.lines) {
    if (line === 'listening') yield line;
    const neighbour = decodeNeighbour(Buffer.from(line, 'hex'));
    if (neighbour !== undefined) yield neighbour;
  }
  const exitCode = await perl.exited;
  if (!signal.aborted) throw new ExecError('perl', exitCode, await perl.takeErrors());
}

import { type Exec, ExecError } from '../ports/exec.ts';

/*
 * perl, which every Debian has, listens to netlink(7): `ip monitor` and `nft monitor` print the same, but their lines
 * cannot be parsed reliably. A message: header (length, type, flags, sequence, port), a structure that depends on the
 * type, attributes.
 */

/** A burst is read and printed in portions: ten thousand lines one by one would take 0.1 s of furiwake's processor time more. */
const [restSeconds, mostInPortion] = [0.005, 1000];

const prelude = String.raw`
use strict;
use Errno;
sub hear {                                                            # a socket for these multicast groups
  my ($protocol, $groups) = @_;
  socket(my $socket, 16, 3, $protocol) or die "netlink: $!\n";        # AF_NETLINK, SOCK_RAW
  setsockopt($socket, 1, 33, pack("l", 8 << 20));                     # SO_RCVBUFFORCE
  bind($socket, pack("SSLL", 16, 0, 0, $groups)) or die "netlink: $!\n";
  return $socket;
}
sub after { my ($text, $size) = @_; $size = ($size + 3) & ~3; $size < length($text) ? substr($text, $size) : "" }
sub attributes {                                                      # number => value
  my ($text) = @_;
  my %value;
  while (length($text) >= 4) {
    my ($size, $name) = unpack("SS", $text);
    last if $size < 4 || $size > length($text);
    $value{$name & 0x3fff} = substr($text, 4, $size - 4);
    $text = after($text, $size);
  }
  return %value;
}
my ($said, $pending) = (0);
sub rarely {                                                          # prints this line, at most once in a second
  my ($line) = @_;
  if (time == $said) { $pending = $line } else { $said = time; undef $pending; print $line }
}
sub flush { $| = 1; $| = 0 }
sub serve {                                                           # [socket, what to do with (type, rest) of a message], ...
  my $all = "";
  vec($all, fileno($_), 1) = 1 for *STDIN, map { $_->[0] } @_;
  print "unsure\n";
  while (1) {
    flush();
    select(undef, undef, undef, ${restSeconds});                            # a burst is read and printed in a few portions
    select(my $readable = $all, undef, undef, defined $pending ? 0.2 : undef);
    rarely($pending) if defined $pending;
    exit if vec($readable, fileno(STDIN), 1);                         # furiwake has ended
    for (grep { vec($readable, fileno($_->[0]), 1) } @_) {
      my ($socket, $react) = @$_;
      for (1 .. ${mostInPortion}) {
        my $batch = "";
        if (!defined recv($socket, $batch, 1 << 18, 0x40)) {          # MSG_DONTWAIT
          last if $!{EAGAIN};
          die "netlink: $!\n" unless $!{ENOBUFS};
          print "unsure\n";
          next;
        }
        while (length($batch) >= 16) {
          my ($length, $type) = unpack("LS", $batch);
          last if $length < 16 || $length > length($batch);
          $react->($type, substr($batch, 16, $length - 16));
          $batch = after($batch, $length);
        }
      }
    }
  }
}
`;

/**
 * The lines that a perl script prints about netlink messages, with `hear`, `attributes`, `rarely` and `serve` from above. The first
 * line is `unsure`: any change is possible, as after messages were lost. Ends with `signal`; throws `ExecError` if perl
 * ends.
 */
export async function* hearNetlink(exec: Exec, script: string, signal: AbortSignal): AsyncGenerator<string, void> {
  await using perl = exec.spawn('perl', ['-e', prelude + script], signal);
  yield* perl.lines;
  const exitCode = await perl.exited;
  if (!signal.aborted) throw new ExecError('perl', exitCode, await perl.takeErrors());
}

/**
 * The output of a perl script that asks the kernel something by netlink, with the functions from above, and `input` on its
 * standard input. Throws `ExecError` if it fails, or after five seconds.
 */
export async function askNetlink(exec: Exec, script: string, input: string, signal: AbortSignal): Promise<string> {
  return (await exec.run('perl', ['-e', prelude + script], { stdin: input, signal, timeoutMs: 5_000 })).stdout;
}

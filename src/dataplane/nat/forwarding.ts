import { messageOf } from '../../async/error-words.ts';
import type { Family } from '../../core/ip/ip.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';

/**
 * Where furiwake switched forwarding on, and forwards nothing but its own flows: IPv4 packets that arrive on these links, and
 * all of IPv6.
 */
export type Guard = { readonly links: readonly string[]; readonly hasIpv6: boolean };

/** The kernel's forwarding could not be read or switched. */
export class ForwardingError extends Error {
  override readonly name = 'ForwardingError';
  readonly code = 'FORWARDING_FAILED';
}

export const noGuard: Guard = { links: [], hasIpv6: false };

/**
 * The kernel's forwarding, which is off on a host that does not route. Switched on per link for IPv4, so that `ip_forward` stays what the
 * administrator or another program made it: if one of them switches it on, that is no longer furiwake's to guard.
 *
 *   guardFor ─► the table has the guard ─► switchOn ─► restrictTo ─► the table has the smaller guard
 */
export type Forwarding = {
  /** The guard that the table has. */
  present(signal: AbortSignal): Promise<Guard>;
  /**
   * The guard that the table needs before packets of these families are forwarded, with what is still on for another one. Reads
   * the kernel's settings at first, for a further family, when `links` is another text, and if `isAudit`. Throws
   * {@link ForwardingError}.
   */
  guardFor(families: ReadonlySet<Family>, isAudit: boolean, signal: AbortSignal): Promise<Guard>;
  /**
   * Since it was switched on, the interfaces changed (it is off on a new one, also on one that was made again), or another program
   * may have switched it.
   */
  isOutdated(): boolean;
  /** Switches it on for these families. Call it when their guard is in force. Throws {@link ForwardingError}. */
  switchOn(families: ReadonlySet<Family>, signal: AbortSignal): Promise<void>;
  /**
   * Restores what it was for all other families. Call it while their guard is in force. Resolves with the guard that is needed
   * afterwards, the same object if it is the same. Throws {@link ForwardingError}.
   */
  restrictTo(families: ReadonlySet<Family>, signal: AbortSignal): Promise<Guard>;
};

/*
 * IPv6 has only a switch for the whole host (`force_forwarding` of a link came with Linux 6.17). It would make every link a
 * router's, which ignores router advertisements and forgets the default route that it has from one. So each link is set back to
 * what it was, and accepts advertisements meanwhile.
 */
const script = String.raw`
use strict;
my ($what, $isIpv6, @links) = @ARGV;
my $conf = "/proc/sys/net/ipv4/conf";
sub value { open(my $file, "<", $_[0]) or return; my $value = <$file>; chomp $value; $value }
sub put {
  my ($name, $value) = @_;
  my $present = value($name);
  return if !defined $present || $present eq $value;
  open(my $file, ">", $name) or die "$name: $!\n";
  print $file "$value\n";
  close($file) or die "$name: $!\n";
}
if ($what eq "read") {
  print "all4 ", value("$conf/all/forwarding"), "\n";
  print "all6 ", value("/proc/sys/net/ipv6/conf/all/forwarding") // 0, "\n";
  for (glob "$conf/*") {
    my ($link) = m{([^/]+)$};
    print "link ", value("$_/forwarding"), " $link\n" unless $link =~ /^(all|default|lo)$/;
  }
  exit;
}
my $value = $what eq "on" ? 1 : 0;
put("$conf/$_/forwarding", $value) for @links;
my $six = "/proc/sys/net/ipv6/conf";
# Written only if it changes: /proc/sys may be read-only, as in a container.
exit unless $isIpv6 && (value("$six/all/forwarding") // $value) ne $value;
my %forwarding = map { $_ => value("$_/forwarding") } grep { !m{/all$} } glob "$six/*";
my @hosts = grep { defined $forwarding{$_} && $forwarding{$_} eq "0" && value("$_/accept_ra") eq "1" } sort keys %forwarding;
put("$_/accept_ra", 2) for @hosts;
put("$six/all/forwarding", $value);
put("$_/forwarding", $forwarding{$_}) for keys %forwarding;
put("$_/accept_ra", 1) for @hosts;
`;

/**
 * `earlier`: the guard in the table of an earlier process; `links`: another text when an interface came, went or was renamed, and when
 * forwarding may have been switched.
 */
export function makeForwarding({
  exec,
  links: linksNow,
  earlier,
}: {
  readonly exec: Exec;
  readonly links: () => string;
  readonly earlier: (signal: AbortSignal) => Promise<Guard>;
}): Forwarding {
  /** `undefined`: not read yet. */
  let guard: Guard | undefined;
  /** The families for which it is on. */
  let forwarded: ReadonlySet<Family> = new Set();
  /** The interfaces of the host when its settings were read, and those on which forwarding is switched where it must be. */
  let linksRead = '';
  let linksDone = '';

  const run = async (what: 'read' | 'on' | 'off', { links, hasIpv6 }: Guard, signal: AbortSignal): Promise<string> => {
    const args = ['-e', script, what, hasIpv6 ? '1' : '', ...links];
    try {
      return (await exec.run('perl', args, { signal })).stdout;
    } catch (error) {
      if (!(error instanceof ExecError)) throw error;
      throw new ForwardingError(`forwarding ${what}: ${error.stderr.trim() || messageOf(error)}`, { cause: error });
    }
  };

  const present = async (signal: AbortSignal): Promise<Guard> => (guard ??= await earlier(signal));

  return {
    present,
    guardFor: async (families, isAudit, signal) => {
      const before = await present(signal);
      const isDone = (family: Family): boolean => forwarded.has(family) && linksNow() === linksDone;
      if (!isAudit && [...families].every(isDone)) return before;
      linksRead = linksNow();
      const lines = (await run('read', noGuard, signal)).split('\n').map((line) => line.split(' '));
      const isOn = (name: string): boolean => lines.some(([first, value]) => first === name && value === '1');
      const links = lines.flatMap(([first, value, link = '']) =>
        first === 'link' && (value === '0' || before.links.includes(link)) ? link : [],
      );
      forwarded = new Set();
      guard = {
        links: !families.has(4) ? before.links : isOn('all4') ? [] : links,
        hasIpv6: before.hasIpv6 || (families.has(6) && !isOn('all6')),
      };
      return guard;
    },
    isOutdated: () => forwarded.size > 0 && linksNow() !== linksDone,
    switchOn: async (families, signal) => {
      if ([...families].every((family) => forwarded.has(family))) return;
      const needed = await present(signal);
      if (!isNoGuard(needed)) await run('on', needed, signal);
      forwarded = families;
      linksDone = linksRead;
    },
    restrictTo: async (families, signal) => {
      const before = await present(signal);
      const { links, hasIpv6 } = before;
      const surplus = { links: families.has(4) ? [] : links, hasIpv6: !families.has(6) && hasIpv6 };
      if (isNoGuard(surplus)) return before;
      await run('off', surplus, signal);
      forwarded = new Set([...forwarded].filter((family) => families.has(family)));
      guard = { links: families.has(4) ? links : [], hasIpv6: families.has(6) && hasIpv6 };
      return guard;
    },
  };
}

function isNoGuard({ links, hasIpv6 }: Guard): boolean {
  return links.length === 0 && !hasIpv6;
}

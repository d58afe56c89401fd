import type { Family } from '../../core/ip/ip.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';

/**
 * Where furiwake switched forwarding on, and forwards nothing but its own flows: IPv4 packets that arrive on these links, and
 * all of IPv6.
 */
export type Guard = { readonly links: readonly string[]; readonly hasIpv6: boolean };

export const noGuard: Guard = { links: [], hasIpv6: false };

/**
 * The kernel's forwarding, which is off on a host that does not route. Switched on per link for IPv4, so that `ip_forward` stays what the
 * administrator or another program made it: if one of them switches it on, that is no longer furiwake's to guard.
 */
export type Forwarding = {
  /** The guard that is needed to forward packets of these families, after `before`. */
  plan(families: ReadonlySet<Family>, before: Guard, signal: AbortSignal): Promise<Guard>;
  /** Switches it on. Call it when the guard is in force. Throws `ExecError` if the kernel refuses. */
  switchOn(guard: Guard, signal: AbortSignal): Promise<void>;
  /** Restores what it was. Call it while the guard is in force. */
  switchOff(guard: Guard, signal: AbortSignal): Promise<void>;
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
exit unless $isIpv6;
my @six = glob "/proc/sys/net/ipv6/conf/*";
my %forwarding = map { $_ => value("$_/forwarding") } grep { !m{/all$} } @six;
my @hosts = grep { defined $forwarding{$_} && $forwarding{$_} eq "0" && value("$_/accept_ra") eq "1" } keys %forwarding;
put("$_/accept_ra", 2) for @hosts;
put("/proc/sys/net/ipv6/conf/all/forwarding", $value);
put("$_/forwarding", $forwarding{$_}) for keys %forwarding;
put("$_/accept_ra", 1) for @hosts;
`;

export function makeForwarding(exec: Exec): Forwarding {
  const run = async (what: 'read' | 'on' | 'off', guard: Guard, signal: AbortSignal): Promise<string> => {
    const args = ['-e', script, what, guard.hasIpv6 ? '1' : '', ...guard.links];
    try {
      return (await exec.run('perl', args, { signal })).stdout;
    } catch (error) {
      if (!(error instanceof ExecError)) throw error;
      throw new ExecError(`forwarding ${what}`, error.exitCode, error.stderr, { cause: error });
    }
  };

  return {
    plan: async (families, before, signal) => {
      const lines = (await run('read', noGuard, signal)).split('\n').map((line) => line.split(' '));
      const isOn = (name: string): boolean => lines.some(([first, value]) => first === name && value === '1');
      const links = lines.flatMap(([first, value, link = '']) =>
        first === 'link' && (value === '0' || before.links.includes(link)) ? link : [],
      );
      return {
        links: families.has(4) && !isOn('all4') ? links : [],
        hasIpv6: families.has(6) && (before.hasIpv6 || !isOn('all6')),
      };
    },
    switchOn: async (guard, signal) => {
      if (!isNoGuard(guard)) await run('on', guard, signal);
    },
    switchOff: async (guard, signal) => {
      if (!isNoGuard(guard)) await run('off', guard, signal);
    },
  };
}

function isNoGuard({ links, hasIpv6 }: Guard): boolean {
  return links.length === 0 && !hasIpv6;
}

import { type Exec, ExecError } from '../../ports/exec.ts';
import { type Finding, ok, warning, wrong } from './finding.ts';

/** The ruleset that furiwake needs, for `nft --check`: the kernel tries it and takes it back. */
const tproxyTrial = `table inet furiwake_check {
  map listeners { type ipv4_addr . inet_service : inet_service; }
  set allowed { type ipv4_addr . inet_service . ipv4_addr; flags interval; }
  chain trial {
    type filter hook prerouting priority mangle; policy accept;
    meta l4proto tcp meta nfproto ipv4 tproxy ip to 127.0.0.1:ip daddr . tcp dport map @listeners
    meta l4proto tcp meta nfproto ipv6 tproxy ip6 to [::1]:17100
    fib daddr type local accept
    ip daddr 192.0.2.1 reject with icmp port-unreachable
  }
}
`;

/** TPROXY, fib and reject in the kernel, through nft. */
export async function checkTproxy(exec: Exec, signal: AbortSignal): Promise<readonly Finding[]> {
  try {
    await exec.run('nft', ['--check', '-f', '-'], { stdin: tproxyTrial, signal });
    return [ok('TPROXY', 'nft and the kernel can hand connections to HAProxy')];
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    const [line = ''] = error.stderr.trim().split('\n');
    return [
      wrong(
        'TPROXY',
        line,
        'the kernel needs NFT_TPROXY, NFT_FIB_INET and NFT_REJECT (modprobe nft_tproxy nft_fib_inet nft_reject_inet), nft 1.0 or newer',
      ),
    ];
  }
}

type Chain = {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
};

/**
 * Packets for HAProxy pass the host's input chains, with the VIP and the Service's port as destination: a firewall
 * that drops by default (ufw, firewalld, a hand-written one) drops the Services' connections.
 */
export async function checkFirewall(exec: Exec, signal: AbortSignal): Promise<readonly Finding[]> {
  const { stdout } = await exec.run('nft', ['-j', 'list', 'chains'], { signal });
  const { nftables = [] } = JSON.parse(stdout) as { nftables?: readonly { readonly chain?: Chain }[] };
  const chains = nftables.flatMap(({ chain }) => chain ?? []).filter((chain) => chain.table !== 'furiwake');
  const closed = chains.filter(
    (chain) => chain.hook === 'input' && (chain.policy === 'drop' || chain.table === 'firewalld'),
  );
  if (closed.length === 0) return [ok('host firewall', 'no input chain of nftables drops by default')];
  return closed.map(({ family, table, name }) => {
    const tool =
      table === 'firewalld' ? 'firewalld' : chains.some((chain) => chain.name.startsWith('ufw-')) ? 'ufw' : undefined;
    const advice = {
      firewalld:
        'open the ports of the Services: firewall-cmd --permanent --add-port=80/tcp, or a zone for the clients with target ACCEPT',
      ufw: 'open the ports of the Services: ufw allow 80/tcp, or ufw default allow incoming',
      other: `accept the Services' ports there: the packets have the Service's address and port as destination, and come before HAProxy`,
    }[tool ?? 'other'];
    return warning(
      'host firewall',
      `chain ${name} of table ${family} ${table}${tool === undefined ? '' : ` (${tool})`} may drop connections to Services`,
      advice,
    );
  });
}

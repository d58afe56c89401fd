import { type Exec, ExecError } from '../../ports/exec.ts';
import { listenPort } from '../../dataplane/haproxy/config.ts';
import { type Finding, ok, problem } from './finding.ts';

/** What furiwake needs of nftables, for `nft --check`: the kernel validates it and commits nothing. */
const tproxyTrial = `table inet furiwake_check {
  map listeners { type ipv4_addr . inet_service : inet_service; }
  set allowed { type ipv4_addr . inet_service . ipv4_addr; flags interval; }
  chain trial {
    type filter hook prerouting priority mangle; policy accept;
    meta l4proto tcp meta nfproto ipv4 tproxy ip to 127.0.0.1:ip daddr . tcp dport map @listeners
    meta l4proto tcp meta nfproto ipv6 tproxy ip6 to [::1]:${listenPort}
    fib daddr type local accept
    ip daddr 192.0.2.1 reject with icmp port-unreachable
  }
}
`;

/** Whether nft and the kernel have TPROXY, fib and reject. */
export async function checkTproxy(exec: Exec, signal: AbortSignal): Promise<Finding> {
  try {
    await exec.run('nft', ['--check', '-f', '-'], { stdin: tproxyTrial, signal });
    return ok('nft and the kernel can hand connections to HAProxy');
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    const [line = ''] = error.stderr.trim().split('\n');
    return problem(
      line,
      'the kernel needs NFT_TPROXY, NFT_FIB_INET and NFT_REJECT (modprobe nft_tproxy nft_fib_inet nft_reject_inet), nft 1.0 or newer',
    );
  }
}

import { messageOf } from '../../async/error-words.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import { tryConntrack } from '../../dataplane/nat/flows.ts';
import { natRulesWithHost, natTable } from '../../dataplane/nat/ruleset.ts';
import { renderTable } from '../../dataplane/nftables/table-text.ts';
import { listenPort } from '../../dataplane/haproxy/config/config.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

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
export function checkTproxy(exec: Exec, signal: AbortSignal): Promise<Finding> {
  return tryRules(
    exec,
    tproxyTrial,
    'nft and the kernel can hand connections to HAProxy',
    (line) =>
      problem(
        line,
        'the kernel needs NFT_TPROXY, NFT_FIB_INET and NFT_REJECT (modprobe nft_tproxy nft_fib_inet nft_reject_inet), nft 1.0 or newer',
      ),
    signal,
  );
}

/** Whether they have what the dataplane `nat` needs: its own rules. */
export function checkNat(exec: Exec, signal: AbortSignal): Promise<Finding> {
  return tryRules(
    exec,
    renderTable(natTable, [], 1, natRulesWithHost),
    'nft and the kernel can translate UDP and SCTP',
    (line) =>
      warning(
        line,
        'UDP and SCTP ports are not served: the kernel needs NFT_NAT, NFT_MASQ, NFT_HASH and NFT_CT (modprobe nft_nat nft_masq nft_hash nft_ct), nft 1.0 or newer',
      ),
    signal,
  );
}

/** Whether `nat` can ask the kernel for its flows, and end them. */
export async function checkConntrack(exec: Exec, signal: AbortSignal): Promise<Finding> {
  try {
    await tryConntrack(exec, signal);
    return ok('flows of UDP and SCTP can be ended');
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    const [line = ''] = error.stderr.trim().split('\n');
    return warning(
      line || messageOf(error),
      'flows of UDP and SCTP to a silent node or a deleted Service cannot be ended: the kernel needs NF_CT_NETLINK (modprobe nf_conntrack_netlink), furiwake CAP_NET_ADMIN',
    );
  }
}

async function tryRules(
  exec: Exec,
  stdin: string,
  found: string,
  refused: (line: string) => Finding,
  signal: AbortSignal,
): Promise<Finding> {
  try {
    await exec.run('nft', ['--check', '-f', '-'], { stdin, signal });
    return ok(found);
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    const [line = ''] = error.stderr.trim().split('\n');
    return refused(line);
  }
}

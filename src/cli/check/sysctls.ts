import { listenPort } from '../../dataplane/haproxy/config/config.ts';
import { filtersBridge, hasBridgeFilter } from '../../dataplane/nftables/bridge-filter.ts';
import { type Exec, jsonAnswer } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import { about, type Finding, ok, warning } from './finding.ts';

/** Kernel settings with which packets are dropped silently on a load-balancer host, or one Service's clients harm another's. */
export async function checkSysctls(files: Files, exec: Exec, signal: AbortSignal): Promise<readonly Finding[]> {
  const { stdout } = await exec.run('ip', ['-json', 'link'], { signal });
  const interfaces = (jsonAnswer('ip', stdout) as readonly { readonly ifname: string }[])
    .map((each) => each.ifname)
    .filter((name) => name !== 'lo');
  const read = async (name: string): Promise<number> => Number((await files.read(`/proc/sys/net/${name}`)) ?? '0');
  /** The kernel uses the higher of `all` and the interface's own value. */
  const highest = async (setting: string): Promise<readonly string[]> => {
    const all = await read(`ipv4/conf/all/${setting}`);
    const own = await Promise.all(
      interfaces.map(async (name) => ({ name, value: Math.max(all, await read(`ipv4/conf/${name}/${setting}`)) })),
    );
    return own.filter(({ value }) => value === 1 || (setting === 'arp_ignore' && value > 0)).map(({ name }) => name);
  };
  const strict = await highest('rp_filter');
  const silent = await highest('arp_ignore');
  const freePorts = Number((await files.read('/proc/sys/net/ipv4/ip_unprivileged_port_start')) ?? '1024');
  const hasCookies = (await read('ipv4/tcp_syncookies')) > 0;
  const filtered = await filteredBridges(files, exec, signal);
  const forwards = (await read('ipv4/ip_forward')) === 1;
  const isReadOnly = / \/proc\/sys ro[, ]/.test((await files.read('/proc/self/mountinfo')) ?? '');
  return [
    about(
      'rp_filter',
      strict.length === 0 || interfaces.length === 1
        ? ok(strict.length === 0 ? 'not strict' : `strict on ${strict.join(', ')}, the only link`)
        : warning(
            `strict on ${strict.join(', ')}`,
            'packets of clients to which the route leaves by another link are dropped silently: set net.ipv4.conf.*.rp_filter to 2 or 0 if there are such clients',
          ),
    ),
    about(
      'arp_ignore',
      silent.length === 0
        ? ok('the host answers ARP for added addresses')
        : warning(
            `set on ${silent.join(', ')}`,
            'the host does not answer ARP for the addresses that furiwake adds to furiwake0, …: set net.ipv4.conf.*.arp_ignore to 0, unless the addresses are routed to this host',
          ),
    ),
    about(
      'tcp_syncookies',
      hasCookies
        ? ok('on')
        : warning(
            'off',
            'while SYNs with forged sources arrive for one Service, new connections to all Services of HAProxy are lost: set net.ipv4.tcp_syncookies to 1',
          ),
    ),
    ...(freePorts > listenPort
      ? []
      : [
          about(
            'ip_unprivileged_port_start',
            warning(
              `${freePorts}`,
              `while HAProxy does not run, any user of this host can take its port ${listenPort}, and it cannot be started: set net.ipv4.ip_unprivileged_port_start to ${listenPort + 1} or more`,
            ),
          ),
        ]),
    ...(filtered.length === 0
      ? []
      : [
          about(
            'bridges',
            warning(
              `br_netfilter filters the packets of ${filtered.join(', ')}`,
              'packets of Services of nat, and of UDP and SCTP ports of direct, for which nat stands in, are lost if clients and nodes are behind the same port of the bridge; HAProxy is not affected. Set net.bridge.bridge-nf-call-iptables, net.bridge.bridge-nf-call-ip6tables and the nf_call_iptables and nf_call_ip6tables of the bridge to 0 if there are such Services',
            ),
          ),
        ]),
    about(
      'ip_forward',
      forwards
        ? ok('on')
        : isReadOnly
          ? warning(
              'off, and /proc/sys is read-only',
              'UDP and SCTP ports, and Services of nat, are not served: remove ProtectKernelTunables= from the unit, or set net.ipv4.ip_forward and net.ipv6.conf.all.forwarding to 1',
            )
          : ok('off (switched on for flows of the dataplane nat only, while a Service has one)'),
    ),
  ];
}

/** The bridges of default routes whose packets br_netfilter passes through the hooks of IP, by a setting of all bridges or by their own. */
async function filteredBridges(files: Files, exec: Exec, signal: AbortSignal): Promise<readonly string[]> {
  if (!(await hasBridgeFilter(files))) return [];
  const routes = await Promise.all(
    ['-4', '-6'].map(async (family) => exec.run('ip', ['-json', family, 'route', 'show', 'default'], { signal })),
  );
  const devices = routes.flatMap(
    ({ stdout }) => jsonAnswer('ip', stdout || '[]') as readonly { readonly dev?: string }[],
  );
  const bridges = await Promise.all(
    [...new Set(devices.flatMap(({ dev }) => dev ?? []))].map(async (dev) =>
      (await filtersBridge(files, dev, 4)) || (await filtersBridge(files, dev, 6)) ? [dev] : [],
    ),
  );
  return bridges.flat();
}

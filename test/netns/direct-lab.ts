import { type Machine, makeMachines, type Node, setUp } from './net-lab.ts';

/**
 * One LAN behind a router, as most sites have it: the answers of the nodes do not pass the balancer.
 *
 *   client 198.51.100.2 ── router 198.51.100.1
 *          2001:db8:1::2          192.0.2.1, 2001:db8::1 ── LAN ── balancer 192.0.2.2, n1 192.0.2.11, n2 192.0.2.12 …
 *
 * The router sends packets for 203.0.113.0/24 and 2001:db8:f::/64 (the VIPs) to the balancer. Each node stands for one with
 * kube-proxy in nftables mode and a Pod of its own: `serveVips` makes it answer for addresses that no interface has.
 */
export type DirectLab = AsyncDisposable & {
  readonly client: Machine;
  readonly router: Machine;
  readonly balancer: Machine;
  readonly nodes: readonly Node[];
};

/** As kube-proxy does for an address with `ipMode: VIP`: destination NAT to the Pod. */
export async function serveVips(node: Node, vips: readonly string[], port: number): Promise<void> {
  const rules = vips.map((vip) =>
    vip.includes(':')
      ? `ip6 daddr ${vip} meta l4proto { tcp, udp, sctp } dnat ip6 to [${node.ip6}]:${port}`
      : `ip daddr ${vip} meta l4proto { tcp, udp, sctp } dnat ip to ${node.ip4}:${port}`,
  );
  await node.nft(`table inet kube-proxy
delete table inet kube-proxy
table inet kube-proxy {
  chain nat {
    type nat hook prerouting priority dstnat
    ${rules.join('\n    ')}
  }
}`);
}

/** Counts packets to the VIPs, and to `lanVip`, that reach the node. */
export async function countArrivals(node: Node, lanVip: string): Promise<void> {
  await node.nft(`table inet watch {
  counter reached { }
  chain prerouting {
    type filter hook prerouting priority raw
    ip daddr { 203.0.113.0/24, ${lanVip} } counter name reached
    ip6 daddr 2001:db8:f::/64 counter name reached
  }
}`);
}

export async function arrivals(node: Node): Promise<number> {
  const text = await node.exec('nft', 'list', 'counter', 'inet', 'watch', 'reached');
  return Number(/packets (\d+)/.exec(text)?.[1]);
}

/** The nodes have this machine of the lab as their default gateway. */
export async function setGateway(
  { router, balancer, nodes }: DirectLab,
  gateway: 'router' | 'balancer',
): Promise<void> {
  const [ip4, ip6] = gateway === 'router' ? ['192.0.2.1', '2001:db8::1'] : ['192.0.2.2', '2001:db8::2'];
  for (const machine of [router, balancer])
    await machine.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
  for (const node of nodes) {
    await node.exec('ip', 'route', 'replace', 'default', 'via', ip4);
    await node.exec('ip', '-6', 'route', 'replace', 'default', 'via', ip6);
  }
}

export async function startDirectLab(options: { readonly nodes: number }): Promise<DirectLab> {
  const names = Array.from({ length: options.nodes }, (_, index) => `n${index + 1}`);
  const machines = await makeMachines(['r', 'c', 'l', ...names]);
  try {
    const [router, client, balancer] = [machines.get('r'), machines.get('c'), machines.get('l')];
    const nodes = names.map((name, index): Node => {
      const [ip4, ip6] = [`192.0.2.${11 + index}`, `2001:db8::${11 + index}`];
      return { ...machines.get(name), name, ip4, ip6 };
    });
    // While a link-local address is tentative no neighbour is resolved: nothing is answered in the first second.
    const atOnce = 'net.ipv6.conf.default.accept_dad=0';
    const forwarding = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'];
    for (const machine of [client, balancer]) await machine.exec('sysctl', '-qw', atOnce);
    for (const machine of [router, ...nodes]) await machine.exec('sysctl', '-qw', atOnce, ...forwarding);
    const onLan = [{ ...balancer, name: 'l', ip4: '192.0.2.2', ip6: '2001:db8::2' }, ...nodes];
    await router.ip(
      'link add lan type bridge',
      ...setUp('lan', '192.0.2.1/24', '2001:db8::1/64'),
      `link add wan type veth peer eth0 netns ${client.namespace}`,
      ...setUp('wan', '198.51.100.1/24', '2001:db8:1::1/64'),
      ...onLan.flatMap(({ name, namespace }) => [
        `link add lan-${name} type veth peer eth0 netns ${namespace}`,
        `link set lan-${name} master lan up`,
      ]),
      'route add 203.0.113.0/24 via 192.0.2.2',
      'route add 2001:db8:f::/64 via 2001:db8::2',
    );
    await client.ip(
      ...setUp('eth0', '198.51.100.2/24', '2001:db8:1::2/64'),
      'route add 0.0.0.0/0 via 198.51.100.1',
      'route add ::/0 via 2001:db8:1::1',
    );
    for (const { ip4, ip6, ...machine } of onLan)
      await machine.ip(
        ...setUp('eth0', `${ip4}/24`, `${ip6}/64`),
        'route add 0.0.0.0/0 via 192.0.2.1',
        'route add ::/0 via 2001:db8::1',
      );
    return { client, router, balancer, nodes, [Symbol.asyncDispose]: () => machines[Symbol.asyncDispose]() };
  } catch (error) {
    await machines[Symbol.asyncDispose]();
    throw error;
  }
}

import { pause } from './cluster.ts';
import { addresses, box, packets, type Fault, type Host, never, quietly } from './fault.ts';
import { isOfPool, lanPortOf, routesOf } from './lab.ts';
import { type Machine, setUp } from '../net-lab.ts';

export const links = {
  down: async ({ box: machine }: Host): Promise<void> => machine.ip(`link set ${machine.link} down`),
  up: async ({ box: machine }: Host): Promise<void> => {
    await quietly(machine.exec('ip', 'link', 'set', machine.link, 'up'));
    await quietly(machine.exec('ip', 'address', 'add', `${machine.ip6}/64`, 'dev', machine.link, 'nodad'));
    for (const line of routesOf(machine)) await quietly(machine.ip(line));
  },
};

/** Only those of the kernel remain. */
export async function resetRules(machine: Machine): Promise<void> {
  await quietly(machine.exec('ip', 'rule', 'flush'));
  await quietly(machine.exec('ip', '-6', 'rule', 'flush'));
  for (const family of ['-4', '-6']) {
    await quietly(machine.exec('ip', family, 'rule', 'add', 'from', 'all', 'lookup', 'main', 'pref', '32766'));
    await quietly(machine.exec('ip', family, 'rule', 'add', 'from', 'all', 'lookup', 'local', 'pref', '0'));
  }
}

/** Of the interfaces, addresses and routes of the load-balancer host. */
export const networkFaults: Readonly<Record<string, Fault>> = {
  'address removed': addresses(2, async ({ box: machine }, random) => {
    const lines = (await machine.exec('ip', '-oneline', 'address', 'show', 'dev', 'furiwake0').catch(() => '')).split(
      '\n',
    );
    const found = lines.map((line) => / inet6? (\S+)/.exec(line)?.[1]).filter((each) => each !== undefined);
    if (found.length > 0) await quietly(machine.exec('ip', 'address', 'del', random.pick(found), 'dev', 'furiwake0'));
  }),
  'dummy link deleted': addresses(1, async ({ box: machine }) =>
    quietly(machine.exec('ip', 'link', 'del', 'furiwake0')),
  ),
  'dummy link down': addresses(1, async ({ box: machine }) =>
    quietly(machine.exec('ip', 'link', 'set', 'furiwake0', 'down')),
  ),
  'link down': addresses(2, async (host) => {
    await links.down(host);
    return () => links.up(host);
  }),
  'link renamed': packets(1, async (host) => {
    const { box: machine } = host;
    const name = machine.link === 'eth0' ? 'lan9' : 'eth0';
    await links.down(host);
    await machine.exec('ip', 'link', 'set', machine.link, 'name', name);
    machine.link = name;
    await links.up(host);
  }),
  'default route removed': packets(1, async (host) => {
    await quietly(host.box.exec('ip', 'route', 'del', 'default'));
    return () => links.up(host);
  }),
  'routing rules removed': addresses(1, async ({ box: machine }) => resetRules(machine)),
  renumbered: box(1, async (host, random, world) => {
    const { box: machine } = host;
    const ip4 = `192.0.2.${30 + random.int(10)}`;
    if (machine.ip4 === ip4) return;
    await machine.exec('ip', 'address', 'del', `${machine.ip4}/24`, 'dev', machine.link);
    await machine.exec('ip', 'address', 'add', `${ip4}/24`, 'dev', machine.link);
    machine.ip4 = ip4;
    await links.up(host);
    // Its connections to the API server hang until furiwake gives them up.
    const blind = world.blind();
    void pause(15_000, never).then(() => blind[Symbol.dispose]());
  }),
  'conntrack flushed': packets(1, async ({ box: machine }) => quietly(machine.exec('conntrack', '-F'))),
  'link deleted': packets(1, async (host, random, world) => {
    const { box: machine } = host;
    await quietly(machine.exec('ip', 'link', 'del', machine.link));
    await pause(random.pick([0, 1_000, 4_000]), never);
    await world.lab.router.ip(
      `link add ${lanPortOf(machine)} type veth peer ${machine.link} netns ${machine.namespace}`,
      `link set ${lanPortOf(machine)} master lan up`,
    );
    await machine.ip(...setUp(machine.link, `${machine.ip4}/24`, `${machine.ip6}/64`));
    await links.up(host);
  }),
  'IPv6 disabled': packets(1, async (host) => {
    const setDisabled = (is: 0 | 1): Promise<void> =>
      quietly(host.box.exec('sysctl', '-qw', `net.ipv6.conf.${host.box.link}.disable_ipv6=${is}`));
    await setDisabled(1);
    return async () => {
      await setDisabled(0);
      await links.up(host);
    };
  }),
  'MTU changed': addresses(1, async ({ box: machine }) => {
    await quietly(machine.exec('ip', 'link', 'set', machine.link, 'mtu', '1400'));
    return () => quietly(machine.exec('ip', 'link', 'set', machine.link, 'mtu', '1500'));
  }),
  'sysctls changed': addresses(1, async ({ box: machine }, random) => {
    const values = ['net.ipv4.ip_forward=0', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=0'];
    await quietly(machine.exec('sysctl', '-qw', random.pick(values)));
  }),
  'routing table flushed': addresses(1, async ({ box: machine }, random) => {
    await quietly(machine.exec('ip', random.pick(['-4', '-6']), 'route', 'flush', 'table', '8192'));
  }),
  'neighbours flushed': addresses(1, async ({ box: machine }) =>
    quietly(machine.exec('ip', 'neighbour', 'flush', 'all')),
  ),
  'another machine has an address': box(1, async (_, random, world) => {
    const shown = world.shownAddresses().filter((ip) => !ip.includes(':') && isOfPool(ip));
    if (shown.length === 0) return;
    const [node, address] = [random.pick(world.lab.nodes), `${random.pick(shown)}/32`];
    world.tell(`  ${node.name}: ${address}`);
    world.allow(15_000);
    await quietly(node.exec('ip', 'address', 'add', address, 'dev', 'eth0'));
    return async () => {
      await quietly(node.exec('ip', 'address', 'del', address, 'dev', 'eth0'));
      await quietly(world.lab.router.exec('ip', 'neighbour', 'flush', 'all'));
      world.allow(15_000);
    };
  }),
  'address of a Service configured': packets(1, async ({ box: machine }, random, world) => {
    const shown = world.shownAddresses().filter((ip) => !ip.includes(':') && ip !== machine.ip4);
    if (shown.length === 0) return;
    const address = `${random.pick(shown)}/24`;
    world.tell(`  ${address}`);
    await quietly(machine.exec('ip', 'address', 'add', address, 'dev', machine.link));
    return () => quietly(machine.exec('ip', 'address', 'del', address, 'dev', machine.link));
  }),
};

import { run } from '../machine/run.ts';
import { together } from '../machine/together.ts';
import { type HostPlan, type Link, gatewayOf, vipRoutes } from './address-plan.ts';

/** The namespace whose bridges are the lab's two Ethernet segments. */
const switchName = 'switch';

/** Name of a lab's network namespace. Lab names hold no dash, so one lab's names never start another's. */
export function namespaceOf(lab: string, host: string): string {
  return `fw-${lab}-${host}`;
}

export function namespacePath(lab: string, host: string): string {
  return `/run/netns/${namespaceOf(lab, host)}`;
}

/** The lab of a network namespace, if it belongs to one. */
export function labOf(namespace: string): string | undefined {
  return /^fw-([a-z][a-z0-9]*)-[a-z0-9]+$/.exec(namespace)?.[1];
}

/**
 * Creates the namespaces, bridges, links, addresses and routes of a lab.
 *
 * Both ends of a link are created in their namespaces, so no interface ever appears in the machine's own network.
 */
export async function wire(lab: string, hosts: readonly HostPlan[], stop: AbortController): Promise<void> {
  const { signal } = stop;
  const names = [switchName, ...hosts.map((host) => host.name)];
  await ip(
    names.map((name) => `netns add ${namespaceOf(lab, name)}`),
    signal,
  );
  await ip(bridgeLines, signal, namespaceOf(lab, switchName));
  await together(
    stop,
    hosts.map((host) => connect(lab, host, signal)),
  );
}

/** Creates one host's network again, for a host that starts again. */
export async function rewire(lab: string, host: HostPlan, signal: AbortSignal): Promise<void> {
  const own = namespaceOf(lab, host.name);
  const ports = host.links.map((link) => `link delete ${portOf(host.name, link)}`);
  await ip(ports, signal, namespaceOf(lab, switchName)); // otherwise a port disappears some time after its namespace
  await ip([`netns delete ${own}`, `netns add ${own}`], signal);
  await connect(lab, host, signal);
}

/** Pulls a host's network cables, or plugs them in again: its neighbours get no answer, the host has no carrier. */
export async function setPlugged(lab: string, host: HostPlan, isPlugged: boolean, signal: AbortSignal): Promise<void> {
  const state = isPlugged ? 'up' : 'down';
  const lines = host.links.map((link) => `link set ${portOf(host.name, link)} ${state}`);
  await ip(lines, signal, namespaceOf(lab, switchName));
}

/** Sets a host's routes: range → next hop. */
export async function setRoutes(
  lab: string,
  host: string,
  gateways: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<void> {
  const lines = [...gateways].map(([range, gateway]) => `route replace ${range} via ${gateway}`);
  await ip(lines, signal, namespaceOf(lab, host));
}

/** The switch's end of a link, named after the machine at the other end. */
function portOf(host: string, link: Link): string {
  return link.device === 'eth0' ? host : `${host}-${link.segment}`;
}

/** A host keeps its MAC when it starts again, like a real machine: its neighbours remember it. */
function macOf(ip4: string): string {
  return ['02', '00', ...ip4.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'))].join(':');
}

function plugLines(lab: string, host: string, link: Link): string[] {
  const port = portOf(host, link);
  return [
    `link add ${port} type veth peer name ${link.device} address ${macOf(link.ip4)} netns ${namespaceOf(lab, host)}`,
    `link set ${port} master ${link.segment} up`,
  ];
}

/** Without snooping a bridge floods multicast as a plain switch does: VRRP and neighbour discovery need no querier. */
const bridgeLines = ['lan', 'wan'].flatMap((name) => [
  `link add ${name} type bridge mcast_snooping 0`,
  `link set ${name} up`,
]);

async function connect(lab: string, host: HostPlan, signal: AbortSignal): Promise<void> {
  // An interface gets its settings from the defaults at the time of its creation.
  await run(['nsenter', `--net=${namespacePath(lab, host.name)}`, 'sysctl', '-qw', ...sysctls(host)], { signal });
  const plugs = host.links.flatMap((link) => plugLines(lab, host.name, link));
  await ip(plugs, signal, namespaceOf(lab, switchName));
  await ip(hostLines(host), signal, namespaceOf(lab, host.name));
}

function hostLines(host: HostPlan): string[] {
  const addresses = host.links.flatMap(({ device, ip4, ip6 }) => [
    `address add ${ip4}/24 dev ${device}`,
    `address add ${ip6}/64 dev ${device} nodad`, // no wait of a second: no other host has this address
    `link set ${device} up`,
  ]);
  return ['link set lo up', ...addresses, ...routes(host)];
}

function routes(host: HostPlan): string[] {
  if (host.role === 'router') return [...vipRoutes()].map(([range, gateway]) => `route add ${range} via ${gateway}`);
  const { ip4, ip6 } = gatewayOf(host.links[0].segment);
  return [`route add default via ${ip4}`, `route add default via ${ip6}`];
}

/** A load-balancer host has Debian's defaults: no forwarding, loose reverse-path check. */
function sysctls(host: HostPlan): string[] {
  const forwards = host.role === 'router' || host.role === 'node' ? 1 : 0;
  const rpFilter = host.role === 'load-balancer' ? 2 : 0;
  return [
    `net.ipv4.ip_forward=${forwards}`,
    `net.ipv6.conf.all.forwarding=${forwards}`,
    `net.ipv4.conf.all.rp_filter=${rpFilter}`,
    `net.ipv4.conf.default.rp_filter=${rpFilter}`,
  ];
}

/** Runs ip(8) over many lines, in a namespace or in the machine's own network. */
async function ip(lines: readonly string[], signal: AbortSignal, namespace?: string): Promise<void> {
  const place = namespace === undefined ? [] : ['-netns', namespace];
  await run(['ip', ...place, '-batch', '-'], { signal, stdin: `${lines.join('\n')}\n` });
}

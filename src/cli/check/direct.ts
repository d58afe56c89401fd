import { families } from '../../core/ip/ip.ts';
import type { Node } from '../../core/model/node.ts';
import type { Service } from '../../core/model/service.ts';
import { lacksNodePorts, mayMoveToDirect, needsDirect, requestedDataplane } from '../../core/traffic/dataplane.ts';
import { choosePods, makePodPlace } from '../../core/traffic/pods.ts';
import type { Platform } from '../../daemon/platform.ts';
import { countSpoofed } from '../../dataplane/direct/table/direct-counters.ts';
import { tryDirectTable } from '../../dataplane/direct/table/try-table.ts';
import type { KubeProxy } from '../../health/kube-proxy-sync.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import type { CheckedCluster } from './cluster.ts';
import { type Concern, counted, type Finding, named, ok, warning } from './finding.ts';
import type { CheckedNetwork } from './host.ts';
import { compareMtus, measureMtus } from './mtus.ts';
import { findNextHops, type CheckedHop, nextHopTroubles } from './next-hops.ts';

/**
 * Whether the dataplane `direct` can work here, and with which nodes. What keeps it from that is a warning if a Service asks
 * for it, else one line.
 */
export async function checkDirect(
  {
    nodes,
    services,
    endpoints,
    network,
  }: {
    readonly nodes: readonly Node[];
    readonly services: readonly Service[];
    readonly endpoints: CheckedCluster['endpoints'];
    readonly network: CheckedNetwork;
  },
  machine: Pick<Platform, 'exec' | 'files' | 'clock'>,
  makeKubeProxy: () => KubeProxy,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const { exec, files } = machine;
  const active = nodes.filter(({ excluded }) => excluded === undefined);
  const hops = await findNextHops(active, network, makeKubeProxy, signal);
  const gateways = network.addresses().primary.flatMap((address) => {
    const link = network.links.linkOf(address)?.name;
    return link === undefined ? [] : [{ family: address.family, link }];
  });
  const troubles = [
    ...(await tryTable(exec, signal)),
    ...nextHopTroubles(hops, named),
    ...(await compareMtus(
      [...hops, ...gateways].flatMap(({ link }) => link ?? []),
      files,
    )),
    ...(await measureMtus(hops, network, machine, signal)),
    ...(await findGateway(hops, gateways, files)),
    ...(await findSpoofed(exec, signal)),
  ];
  const usable = hops.filter(({ state }) => state === 'ready' || state === 'untimed');
  const links = [...new Set(usable.flatMap(({ link }) => link ?? []))].sort();
  const on = links.length === 0 ? '' : ` (on ${links.join(', ')})`;
  const found = `${usable.length} of ${counted(hops.length, 'node address', 'node addresses')} can get packets${on}`;
  const mayUse = (spec: Service['spec']): boolean =>
    requestedDataplane(spec) === 'direct' ||
    (mayMoveToDirect(spec, { isHostAddress: false }) && (needsDirect(spec) || lacksNodePorts(spec)));
  const users = services.filter(({ spec }) => spec.type === 'LoadBalancer' && mayUse(spec));
  if (users.length === 0)
    return [ok(['no Service asks for it', found, ...troubles.map((trouble) => trouble.found)].join('; '))];
  return [
    ok(
      [
        `${counted(users.length, 'Service asks', 'Services ask')} for it`,
        found,
        'the firewall of this host does not see its packets; those with an impossible source address are dropped',
        ...unreachableHere(users, endpoints, network),
      ].join('; '),
    ),
    ...troubles.map((trouble) => warning(trouble.found, trouble.advice)),
  ];
}

/** What this host sends itself passes no device of a LAN: it needs a stand-in, which needs a nodePort, or routes to the Pods. */
function unreachableHere(
  users: readonly Service[],
  endpoints: CheckedCluster['endpoints'],
  network: CheckedNetwork,
): readonly string[] {
  const { own, needs, routed } = network.addresses();
  const place = makePodPlace(undefined)(
    { routed, pool: [], drained: new Set() },
    { needs, ownAddresses: [...own.values()] },
  );
  const lacksPods = ({ key, spec }: Service): boolean =>
    spec.ports.some(
      (port) =>
        port.nodePort === 0 &&
        spec.ipFamilies.some((family) => {
          const { pods, unrouted, refused } = choosePods(family, port, endpoints.get(key) ?? [], place);
          return pods.length === 0 && unrouted.length + refused.size > 0;
        }),
    );
  const names = users.filter(lacksPods).map(({ key }) => key);
  if (names.length === 0) return [];
  const what = `this host itself cannot connect to the ports without a NodePort of ${named(names)}`;
  return [`${what}: it has no route to their Pods but its default route, or needs their addresses itself`];
}

/** Whether nft and the kernel have what the table needs. */
async function tryTable(exec: Exec, signal: AbortSignal): Promise<readonly Concern[]> {
  const words = await tryDirectTable(exec, signal);
  if (words === undefined) return [];
  return [
    {
      found: `its table cannot be loaded: ${words}`,
      advice:
        'the kernel needs NETFILTER_INGRESS, NFT_FWD_NETDEV, NFT_FIB_NETDEV and NFT_HASH (modprobe nft_fwd_netdev nft_fib_netdev nft_hash), and nft 1.0.6 or newer; until then HAProxy or nat stands in',
    },
  ];
}

async function findSpoofed(exec: Exec, signal: AbortSignal): Promise<readonly Concern[]> {
  const packets = await countSpoofed(exec, signal).catch((error: unknown) => {
    if (error instanceof ExecError) return 0; // without perl, which another line reports, nothing uses the table
    throw error;
  });
  if (packets === 0) return [];
  return [
    {
      found: `dropped ${counted(packets, 'packet', 'packets')} whose source no client has: an address of this host, of a Service, a node or a Pod`,
      advice:
        'find the machine that sends them (tcpdump -eni DEVICE on this host shows its MAC): it forges its source, or is a node on which kube-proxy does not serve the address',
    },
  ];
}

/** A node whose default route is this host sends its answers here, with an address of this host as their source. */
async function findGateway(
  hops: readonly CheckedHop[],
  gateways: readonly Pick<CheckedHop, 'family' | 'link'>[],
  files: Files,
): Promise<readonly Concern[]> {
  const settings = { 4: 'ipv4/ip_forward', 6: 'ipv6/conf/all/forwarding' } as const;
  const found: Concern[] = [];
  for (const family of families) {
    if ((await files.read(`/proc/sys/net/${settings[family]}`))?.trim() !== '1') continue;
    const isAside = (hop: CheckedHop): boolean =>
      hop.family === family &&
      hop.link !== undefined &&
      !gateways.some((gateway) => gateway.family === family && gateway.link === hop.link);
    const names = named(hops.filter(isAside).map(({ node }) => node));
    if (names !== '')
      found.push({
        found: `this host forwards IPv${family} and may be the gateway of ${names}, on another LAN than that of its default route`,
        advice:
          'the answers of such a node cross this host, which drops them, because their source is an address of its own: give the nodes another gateway; furiwake probes them, and uses no such node for a Service without the annotation furiwake.dev/dataplane',
      });
  }
  return found;
}

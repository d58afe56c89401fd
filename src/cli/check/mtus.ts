import { mtuWords } from '../../core/status/direct-trouble.ts';
import type { Platform } from '../../daemon/platform.ts';
import { makeMtuProbe, type MeasuredPath } from '../../dataplane/direct/probes/mtu-probe.ts';
import { makeKnownMacs } from '../../dataplane/direct/table/node-macs.ts';
import { ExecError } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import type { Concern } from './finding.ts';
import type { CheckedNetwork } from './host.ts';
import type { CheckedHop } from './next-hops.ts';

/** `direct` hands on packets as they are, and sends no ICMP error for one that is too large. */
export async function compareMtus(links: readonly string[], files: Files): Promise<readonly Concern[]> {
  const mtus = new Map<string, string>();
  for (const link of [...new Set(links)].sort()) {
    const mtu = await files.read(`/sys/class/net/${link}/mtu`);
    if (mtu !== undefined) mtus.set(link, mtu.trim());
  }
  if (new Set(mtus.values()).size <= 1) return [];
  return [
    {
      found: `unequal MTUs: ${Array.from(mtus, ([link, mtu]) => `${link} ${mtu}`).join(', ')}`,
      advice:
        'packets that are larger than the smaller MTU are lost: set the same MTU on these interfaces; without the annotation furiwake.dev/dataplane, run uses no node behind the smaller one',
    },
  ];
}

/** The nodes whose MTU is not that of the LAN device, as `run` measures it. Without perl, which another line reports, nothing is known. */
export async function measureMtus(
  hops: readonly CheckedHop[],
  network: CheckedNetwork,
  { exec, clock }: Pick<Platform, 'exec' | 'clock'>,
  signal: AbortSignal,
): Promise<readonly Concern[]> {
  const own = [...network.addresses().own.values()];
  try {
    const macs = await makeKnownMacs(exec)(
      hops.map(({ address }) => address),
      true,
      signal,
    );
    const paths = hops.flatMap(({ node, address }): readonly (MeasuredPath & Pick<CheckedHop, 'node'>)[] => {
      const [link, nodeMac] = [network.links.linkOf(address), macs.get(address.text)];
      const source = own.find(
        (each) => each.family === address.family && network.links.linkOf(each)?.index === link?.index,
      );
      if (link === undefined || nodeMac === undefined || source === undefined) return [];
      return [{ node, link: { ...link, address: source }, nodeMac, nodeAddress: address }];
    });
    const found = await makeMtuProbe({ exec, clock })(paths, signal);
    const unequal = new Map(
      paths.flatMap((path) => {
        const mtu = found.get(path);
        return typeof mtu === 'object' ? [[path.node, mtu] as const] : [];
      }),
    );
    if (unequal.size === 0) return [];
    return [
      {
        found: mtuWords([...unequal]),
        advice:
          'direct would lose large packets: set the same MTU; without the annotation furiwake.dev/dataplane, run uses no such node',
      },
    ];
  } catch (error) {
    if (error instanceof ExecError) return [];
    throw error;
  }
}

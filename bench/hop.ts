import path from 'node:path';
import { type DirectLab, startDirectLab } from '../test/netns/direct-lab.ts';
import type { Machine } from '../test/netns/net-lab.ts';
import type { Bench } from './bench.ts';
import { startDirect, vips } from './direct.ts';
import { median } from './statistics.ts';

const repetitions = 5;
const kinds = {
  established: 'TCP, established',
  connections: 'TCP, whole connections',
  same: 'UDP, same flows',
  new: 'UDP, a flow per packet',
} as const;

/**
 * What a packet costs the load-balancer host: sent through it, less sent straight to a node. By `direct` with 10,000 listeners, and by
 * routing alone, without connection tracking. The frames are made without a socket of a client, and dropped where they arrive at a node.
 */
export const hop: Bench = {
  name: 'hop',
  title: `what a packet costs the load-balancer host: direct with 10,000 listeners, and routing; medians of ${repetitions}`,
  run: async ({ progress, signal }) => {
    using step = progress.step('Making the listeners');
    await using lab = await startDirectLab({ nodes: 2 });
    await using _direct = await startDirect(lab, signal);
    const [node] = lab.nodes;
    if (node === undefined) throw new Error('the lab has no node');
    await lab.balancer.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1');
    await lab.balancer.exec('ip', 'route', 'add', vips.wire, 'via', node.ip4);
    await dropAtNodes(lab);
    const [source, balancer, target] = [
      await macOf(lab.router, 'lan'),
      await macOf(lab.balancer, 'eth0'),
      await macOf(node, 'eth0'),
    ];
    const cost = async (kind: string, to: string, vip: string): Promise<number> => {
      const args = [framesProgram, 'lan', source, to, vip, kind];
      return Number((await lab.router.execPort.run('perl', args, { signal, timeoutMs: 60_000 })).stdout) / 1000;
    };
    const measured = new Map<string, { readonly direct: number[]; readonly routed: number[] }>();
    for (let round = 1; round <= repetitions; round++)
      for (const [kind, what] of Object.entries(kinds)) {
        step.update(`round ${round} of ${repetitions}: ${what}`);
        const figures = measured.get(what) ?? { direct: [], routed: [] };
        measured.set(what, figures);
        const wire = await cost(kind, target, vips.wire);
        figures.direct.push((await cost(kind, balancer, vips.direct)) - wire);
        figures.routed.push((await cost(kind, balancer, vips.wire)) - wire);
      }
    await assertArrived(lab);
    step.done();
    return [...measured].flatMap(([what, { direct, routed }]) => [
      { what: `${what}: direct`, value: median(direct), unit: 'µs' },
      { what: `${what}: routing`, value: median(routed), unit: 'µs' },
    ]);
  },
};

const framesProgram = path.join(import.meta.dirname, 'hosts', 'frames.pl');

async function macOf(machine: Machine, device: string): Promise<string> {
  return / link\/ether (\S+)/.exec(await machine.exec('ip', '-o', 'link', 'show', 'dev', device))?.[1] ?? '';
}

async function dropAtNodes({ nodes }: DirectLab): Promise<void> {
  for (const node of nodes)
    await node.nft(`table netdev bench {
  chain arrive {
    type filter hook ingress device eth0 priority 0
    ip saddr 192.0.2.128/25 counter drop
  }
}`);
}

/** Both nodes got some: else the host would have dropped what cost so little. */
async function assertArrived({ nodes }: DirectLab): Promise<void> {
  for (const node of nodes) {
    const packets = Number(
      /packets (\d+)/.exec(await node.exec('nft', 'list', 'chain', 'netdev', 'bench', 'arrive'))?.[1],
    );
    if (packets < 100_000) throw new Error(`${node.name} got only ${packets} packets`);
  }
}

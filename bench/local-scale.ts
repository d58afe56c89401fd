import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench } from './bench.ts';
import { readKernelMb } from './kernel-memory.ts';
import { nodeAddresses, standForNodes } from './simulated-nodes.ts';
import { startSite } from './site.ts';
import { median, quantile } from './statistics.ts';
import { watchElements } from './watch-elements.ts';

const services = 2_000;
const changes = 40;
const slot = /^add element netdev furiwake slots /;

/**
 * 2,000 Services with `externalTrafficPolicy: Local` and endpoints on three nodes, on `direct`:
 *
 *   1. one endpoint goes: from the API server's event until `nft monitor` prints a slot that another node has
 *   2. the kernel's memory that is free again after the table is deleted, once furiwake has ended
 */
export const localScale: Bench = {
  name: 'local-scale',
  title: `${services} Services with nodes of their own on direct: a change, and the memory of the kernel`,
  run: async ({ bundle, progress, signal }) => {
    using step = progress.step('Making the Services');
    const nodes = nodeAddresses(3);
    const features = {
      annotations: { 'furiwake.dev/dataplane': 'direct' },
      // Without a NodePort HAProxy does not stand in, whose backends are not measured here.
      spec: { externalTrafficPolicy: 'Local', ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
      endpoints: nodes.length,
    };
    await using site = await startSite({ services, features, nodes, nodePort: 20_000, machines: 1, bundle, signal });
    const { balancer } = site.lab;
    await using _nodes = await standForNodes(site, nodes, signal);
    const furiwake = site.startFuriwake();
    await site.ask({ do: 'awaitAddresses' });
    const countSlots = async (): Promise<number> =>
      Number(await balancer.exec('sh', '-c', "nft list map netdev furiwake slots | grep -o ' : 0x' | wc -l"));
    step.update('waiting until all are open');
    let slots = 0;
    for (let before = -1; slots === 0 || slots !== before;) {
      before = slots;
      await sleep(3_000, undefined, { signal });
      slots = await countSlots();
    }
    step.update('removing one endpoint after the other');
    const inForce: number[] = [];
    {
      await using elements = watchElements(balancer.execPort, signal);
      const remove = async (index: number): Promise<number> => {
        const added = elements.added(slot);
        const { changedAt } = await site.ask({ do: 'setEndpoints', service: `service-${index}`, count: 2 });
        return (await added) - changedAt;
      };
      for (let index = changes; !elements.isFollowing(); index++) await remove(index).catch(() => undefined);
      for (let index = 0; index < changes; index++) {
        inForce.push(await remove(index));
        await sleep(50, undefined, { signal }); // the rest of its transaction is printed
      }
    }
    await furiwake[Symbol.asyncDispose]();
    step.update('deleting the table');
    await sleep(1_000, undefined, { signal });
    const full = await readKernelMb();
    await balancer.exec('nft', 'delete', 'table', 'netdev', 'furiwake');
    await sleep(1_000, undefined, { signal }); // the kernel frees it later
    const freed = full - (await readKernelMb());
    step.done();
    return [
      { what: 'one endpoint gone → in force, median', value: median(inForce), unit: 'ms', target: { atMost: 10 } },
      { what: 'the same, p90', value: quantile(inForce, 0.9), unit: 'ms' },
      { what: 'slots in the kernel', value: slots, unit: '' },
      { what: 'memory in the kernel', value: freed, unit: 'MB', target: { atMost: 100 } },
    ];
  },
};

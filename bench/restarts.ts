import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../lab/machine/until.ts';
import type { Bench, Figure } from './bench.ts';
import { startOnClient } from './client-program.ts';
import type { FlowsResult } from './hosts/flows.ts';

const connections = 800;
const datagramFlows = 200;
const address = '198.18.8.100';
/** Longer than a flow is silent before it counts as broken. */
const watchedMs = 6_000;

/**
 * 800 connections and 200 flows of datagrams through `direct`, each of which asks for the name of its Pod every two seconds, while
 * furiwake is killed and started again, HAProxy is killed, and another program deletes the table of `direct`.
 */
export const restarts: Bench = {
  name: 'restarts',
  title: `furiwake, HAProxy, the nft table restarted under ${connections + datagramFlows} direct flows`,
  run: async ({ cluster, progress, signal }) => {
    const site = await cluster();
    const { lab } = site;
    await using furiwake = await site.startFuriwake();
    const ports = [
      { name: 'tcp', port: 80, targetPort: 8080, protocol: 'TCP' },
      { name: 'udp', port: 81, targetPort: 8081, protocol: 'UDP' },
    ];
    const annotations = { 'furiwake.dev/dataplane': 'direct' };
    const spec = { externalTrafficPolicy: 'Local', ports };
    await site.createServices({ services: [{ name: 'flows', address, annotations, spec }], workers: 1 });
    const lb1 = lab.host('lb1');
    const openNodes = async (): Promise<boolean> => {
      const { stdout } = await lb1.exec(['nft', 'list', 'map', 'netdev', 'furiwake', 'slots']);
      return new Set(Array.from(stdout.matchAll(/ : (0x[0-9a-f]+)/g), ([, mark]) => mark)).size === 2;
    };
    await until('both nodes to take flows', openNodes, { signal });
    const deleteTable = async (): Promise<void> => {
      await lb1.exec(['nft', 'delete', 'table', 'netdev', 'furiwake']);
      await until('the table to be back', openNodes, { signal });
    };
    const killHaproxy = async (): Promise<void> => {
      const pid = (await furiwake.status()).haproxy?.pid ?? 0;
      await lb1.exec(['kill', '-KILL', String(pid)]); // a number in the host's own namespace
      const isBack = async (): Promise<boolean> => ![0, pid].includes((await furiwake.status()).haproxy?.pid ?? 0);
      await until('HAProxy to be back', isBack, { signal });
    };
    const figures: Figure[] = [];
    for (const [what, restart] of [
      ['furiwake', furiwake.restart],
      ['HAProxy', killHaproxy],
      ['the nft table', deleteTable],
    ] as const) {
      using step = progress.step(`Restarting ${what}`);
      const args = [address, '80', String(connections), '81', String(datagramFlows)];
      await using flows = await startOnClient<FlowsResult>(lab, 'flows', args, signal);
      await sleep(watchedMs, undefined, { signal }); // they have pins
      await restart();
      await sleep(watchedMs, undefined, { signal });
      const { flows: all, moved, broken } = await flows.stop();
      step.done();
      figures.push(
        { what: `${what}: flows`, value: all, unit: '' },
        { what: `${what}: moved`, value: moved, unit: '', target: { atMost: 0 } },
        { what: `${what}: broken`, value: broken, unit: '', target: { atMost: 0 } },
      );
    }
    return figures;
  },
};

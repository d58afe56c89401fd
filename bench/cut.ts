import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../lab/machine/until.ts';
import type { Bench, Context, Figure } from './bench.ts';
import { startOnClient } from './client-program.ts';
import type { Cluster, LabFuriwake } from './cluster.ts';
import { createByHand, readEchoPods } from './echo-services.ts';
import { now } from './hosts/services.ts';
import type { RequestOutcome } from './hosts/requests.ts';

const everyMs = 5;
/** Kubernetes notices a silent node after 20 s. */
const cutMs = 10_000;
const beforeMs = 2_000;
/** `direct` gives a silent node up within that time. */
const recoverMs = 3_000;
/** A lost SYN is sent again after a second. */
const retriedMs = 900;

const ways = {
  'NodePorts, no Pod there': { 'furiwake.dev/dataplane': 'haproxy' },
  'Pods as servers': { 'furiwake.dev/backends': 'pods' },
  'direct, Local': { 'furiwake.dev/dataplane': 'direct' },
} as const;

/**
 * The network of one of two nodes is cut for 10 s, under 200 new connections a second: through HAProxy to NodePorts, while all Pods
 * are on the other node; through HAProxy to Pods on both; and through `direct` to Pods on both. Each request has 10 s.
 */
export const cut: Bench = {
  name: 'cut',
  title: `a node's network cut for ${cutMs / 1000} s under ${1000 / everyMs} connections/s`,
  run: async (context) => {
    const site = await context.cluster();
    await using furiwake = await site.startFuriwake();
    const figures: Figure[] = [];
    for (const way of Object.keys(ways) as (keyof typeof ways)[])
      figures.push(...(await measure(context, site, furiwake, way)));
    return figures;
  },
};

async function measure(
  { progress, signal }: Context,
  { lab, deleteServices }: Cluster,
  furiwake: LabFuriwake,
  way: keyof typeof ways,
): Promise<readonly Figure[]> {
  using step = progress.step(`Cutting a node: ${way}`);
  const address = '198.18.8.100';
  const isDirect = way === 'direct, Local';
  const pods = await readEchoPods(lab);
  const chosen = way === 'NodePorts, no Pod there' ? new Map([...pods].filter(([node]) => node === 'n1')) : pods;
  const name = `cut-${Object.keys(ways).indexOf(way)}`;
  const spec = isDirect ? { externalTrafficPolicy: 'Local' } : {};
  await createByHand(lab, { name, address, annotations: ways[way], spec }, chosen);
  const args = [`${address}:80`, String(everyMs)];
  await using requests = await startOnClient<readonly RequestOutcome[]>(lab, 'requests', args, signal);
  await sleep(beforeMs + (isDirect ? 5_000 : 0), undefined, { signal }); // both nodes of direct are in use
  const n2 = lab.host('n2');
  const cutAt = now();
  await n2.cutNetwork();
  let outcomes: readonly RequestOutcome[];
  try {
    await sleep(cutMs, undefined, { signal });
    outcomes = await requests.stop();
  } finally {
    await n2.restoreNetwork();
  }
  const isUp = async (): Promise<boolean> =>
    (await furiwake.status()).nodes.every(({ node, state }) => node !== 'n2' || state === 'up');
  await until('the node to be back', isUp, { signal, timeoutMs: 120_000 });
  await lab.kubectl('wait', '--for=condition=Ready', 'node/n2', '--timeout=120s');
  await deleteServices();
  step.done();
  const since = outcomes.filter(({ at }) => at >= cutAt);
  const failed = since.filter(({ failure }) => failure !== undefined);
  for (const why of new Set(failed.map(({ failure }) => failure))) progress.say(`  ${why}`);
  const late = failed.filter(({ at }) => at >= cutAt + recoverMs);
  const slow = since.filter(({ failure, tookMs }) => failure === undefined && tookMs >= retriedMs);
  return [
    { what: `${way}: requests since the cut`, value: since.length, unit: '' },
    isDirect
      ? { what: `${way}: failed of those that began 3 s later`, value: late.length, unit: '', target: { atMost: 0 } }
      : { what: `${way}: failed`, value: failed.length, unit: '', target: { atMost: 0 } },
    ...(isDirect ? ([{ what: `${way}: failed in all`, value: failed.length, unit: '' }] as const) : []),
    { what: `${way}: answered after the client sent a SYN again`, value: slow.length, unit: '' },
    { what: `${way}: slowest answer`, value: Math.max(...since.map(({ tookMs }) => tookMs)), unit: 'ms' },
  ];
}

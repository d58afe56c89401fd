import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench, Context, Figure } from './bench.ts';
import { startOnClient } from './client-program.ts';
import type { Cluster } from './cluster.ts';
import { createByHand, readEchoPods, replaceEndpoints } from './echo-services.ts';
import { timeFirstBytes } from './first-byte.ts';
import type { RequestOutcome } from './hosts/requests.ts';
import { median, quantile } from './statistics.ts';

const count = 20;
const removals = 10;
const requestEveryMs = 5;
/** After which requests to a node without its endpoint are certain to show; kube-proxy on the node may serve them for a second. */
const watchedMs = 1_500;
/** Until the returned node takes connections again. */
const returnMs = 4_000;

const local = { externalTrafficPolicy: 'Local' };

/**
 *   1. create → first byte at the client, Services one at a time: with Pods as servers, which no kube-proxy delays, and with
 *      `direct`, which kube-proxy delays by two syncs
 *   2. of a Service with `externalTrafficPolicy: Local` the endpoint on one node goes: from the request that replaces the
 *      EndpointSlice until the client has begun the last connection that this node gets
 */
export const pods: Bench = {
  name: 'pods',
  title: `create → first byte with Pods as servers, and with direct, ${count} Services; endpoint gone, ${removals} times`,
  run: async (context) => {
    const site = await context.cluster();
    await using _furiwake = await site.startFuriwake();
    return [
      ...(await measureFirstBytes(context, site, {
        what: 'Pods as servers',
        annotations: { 'furiwake.dev/backends': 'pods' },
        atMost: 100,
      })),
      ...(await measureFirstBytes(context, site, {
        what: 'direct, Local',
        annotations: { 'furiwake.dev/dataplane': 'direct' },
        spec: local,
        atMost: 1_150,
      })),
      ...(await measureRemovals(context, site, 'haproxy')),
      ...(await measureRemovals(context, site, 'direct')),
    ];
  },
};

type Kind = {
  readonly what: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly atMost: number;
};

async function measureFirstBytes(
  { progress, signal }: Context,
  site: Cluster,
  { what, annotations, spec = {}, atMost }: Kind,
): Promise<readonly Figure[]> {
  using step = progress.step(`Creating ${count} Services: ${what}`);
  const since: number[] = [];
  for (let index = 0; index < count; index++) {
    const [name, address] = [`byte-${index}`, `198.18.8.${index + 1}`];
    const times = await timeFirstBytes(site, { name, address, annotations, spec }, [], signal);
    since.push(times.get(`${address}:80`) ?? Number.NaN);
  }
  await site.deleteServices();
  step.done();
  return [
    { what: `${what}: create → first byte, median`, value: median(since), unit: 'ms', target: { atMost } },
    { what: `${what}: the same, p90`, value: quantile(since, 0.9), unit: 'ms' },
  ];
}

async function measureRemovals(
  { progress, signal }: Context,
  site: Cluster,
  dataplane: 'haproxy' | 'direct',
): Promise<readonly Figure[]> {
  using step = progress.step(`Removing an endpoint of ${dataplane}`);
  const { lab } = site;
  const [name, address] = [`gone-${dataplane}`, '198.18.8.100'];
  const both = await readEchoPods(lab);
  const one = new Map([...both].filter(([node]) => node === 'n1'));
  const gone = both.get('n2')?.name ?? '';
  const annotations = { 'furiwake.dev/dataplane': dataplane };
  await createByHand(lab, { name, address, annotations, spec: local }, both);
  const args = [`${address}:80`, String(requestEveryMs)];
  await using requests = await startOnClient<readonly RequestOutcome[]>(lab, 'requests', args, signal);
  const removed: (readonly [from: number, to: number])[] = [];
  for (let index = 0; index < removals; index++) {
    await sleep(returnMs, undefined, { signal });
    const { sentAt } = await replaceEndpoints(site, name, one);
    await sleep(watchedMs, undefined, { signal });
    const restored = await replaceEndpoints(site, name, both);
    removed.push([sentAt, restored.sentAt]);
  }
  const outcomes = await requests.stop();
  await site.deleteServices();
  const isAtNode = ({ pod, failure }: RequestOutcome): boolean => pod === gone || failure !== undefined;
  const within = (from: number, to: number): readonly RequestOutcome[] =>
    outcomes.filter(({ at }) => at >= from && at < to);
  const times = removed.map(
    ([from, to]) =>
    Math.max(0, ...within(from, to).filter(isAtNode).map(({ at }) => at - from)), // prettier-ignore
  );
  const before = within(...([(removed[0]?.[0] ?? 0) - 1_000, removed[0]?.[0] ?? 0] as const));
  if (!before.some(({ pod }) => pod === gone)) throw new Error('the node has had no connections before');
  step.done();
  return [
    {
      what: `${dataplane}: endpoint gone → last new connection to its node, median`,
      value: median(times),
      unit: 'ms',
      target: { atMost: 50 },
    },
    { what: `${dataplane}: the same, longest`, value: Math.max(...times), unit: 'ms' },
    {
      what: `${dataplane}: requests that failed, of ${outcomes.length}`,
      value: outcomes.filter(({ failure }) => failure !== undefined).length,
      unit: '',
    },
  ];
}

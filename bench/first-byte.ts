import type { Bench } from './bench.ts';
import type { Cluster } from './cluster.ts';
import type { FirstBytes } from './hosts/first-byte.ts';
import type { ServiceWish } from './hosts/services.ts';
import { median, quantile } from './statistics.ts';

const count = 20;
const firstNodePort = 31_000;
const timeoutMs = 30_000;

/**
 * The client sends requests to the address and to the NodePort of both nodes, each every 5 ms, starting before the
 * Service is created; the benchmark requests a fixed address and NodePort. kube-proxy on each node opens the NodePort
 * at its sync, once a second. No answer can be earlier than the first of the two nodes, so the difference to that one
 * counts.
 */
export const firstByte: Bench = {
  name: 'first-byte',
  title: `create → first byte at the client, ${count} Services, furiwake against the first NodePort to answer`,
  run: async ({ cluster, progress, signal }) => {
    const site = await cluster();
    await using _furiwake = await site.startFuriwake();
    using step = progress.step(`Creating ${count} Services and asking them`);
    const rounds: Round[] = [];
    for (let index = 0; index < count; index++) {
      rounds.push(await measure(site, index, signal));
      step.update(`${index + 1} of ${count}`);
    }
    step.done();
    const extra = rounds.map(({ throughFuriwake, straight }) => throughFuriwake - straight);
    return [
      { what: 'straight to the NodePort, median', value: median(rounds.map((round) => round.straight)), unit: 'ms' },
      { what: 'through furiwake, median', value: median(rounds.map((round) => round.throughFuriwake)), unit: 'ms' },
      { what: 'later than straight, median', value: median(extra), unit: 'ms', target: { atMost: 20 } },
      { what: 'later than straight, p90', value: quantile(extra, 0.9), unit: 'ms' },
    ];
  },
};

/** Both since the create, in ms. */
type Round = { readonly throughFuriwake: number; readonly straight: number };

async function measure(cluster: Cluster, index: number, signal: AbortSignal): Promise<Round> {
  const nodePort = firstNodePort + index;
  const address = `198.18.8.${index + 1}`;
  const nodes = ['n1', 'n2'].map((name) => `${cluster.lab.host(name).ip4}:${nodePort}`);
  const since = await timeFirstBytes(cluster, { name: `first-${index}`, address, nodePort }, nodes, signal);
  return {
    throughFuriwake: since.get(`${address}:80`) ?? Number.NaN,
    straight: Math.min(...nodes.map((node) => since.get(node) ?? Number.NaN)),
  };
}

/**
 * Creates a Service, whose port is 80; returns the time (ms) from the request until the client had a byte, by target: the address,
 * and the other ones, each as `host:port`.
 */
export async function timeFirstBytes(
  { lab, createServices }: Cluster,
  wish: ServiceWish & { readonly address: string },
  others: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const program = `${import.meta.dirname}/hosts/first-byte.ts`;
  const targets = [`${wish.address}:80`, ...others];
  const asking = lab.host('client').lines([process.execPath, program, ...targets], within);
  await asking.next();
  const [creation] = await createServices({ services: [wish], workers: 1 });
  const { value } = await asking.next();
  const moments = JSON.parse(value ?? '{}') as FirstBytes;
  await asking.return();
  return new Map(Object.entries(moments).map(([target, at]) => [target, at - (creation?.createdAt ?? Number.NaN)]));
}

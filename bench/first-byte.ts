import type { Bench } from './bench.ts';
import type { Cluster } from './cluster.ts';
import type { FirstBytes } from './hosts/first-byte.ts';
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

async function measure({ lab, createServices }: Cluster, index: number, signal: AbortSignal): Promise<Round> {
  const nodePort = firstNodePort + index;
  const address = `198.18.8.${index + 1}`;
  const nodes = [lab.host('n1'), lab.host('n2')].map(({ ip4 }) => `${ip4}:${nodePort}`);
  const within = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const program = `${import.meta.dirname}/hosts/first-byte.ts`;
  const asking = lab.host('client').lines([process.execPath, program, `${address}:80`, ...nodes], within);
  await asking.next();
  const [creation] = await createServices({ services: [{ name: `first-${index}`, address, nodePort }], workers: 1 });
  const { value } = await asking.next();
  const moments = JSON.parse(value ?? '{}') as FirstBytes;
  await asking.return();
  const since = (targets: readonly string[]): number =>
    Math.min(...targets.map((target) => moments[target] ?? Number.NaN)) - (creation?.createdAt ?? Number.NaN);
  return { throughFuriwake: since([`${address}:80`]), straight: since(nodes) };
}

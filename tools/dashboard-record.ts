import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { prepareCluster } from '../bench/cluster.ts';
import { imageNames } from '../lab/images/images.ts';
import { run } from '../lab/machine/run.ts';
import { until } from '../lab/machine/until.ts';
import { stderrProgress } from '../lab/progress.ts';
import { startLab } from '../lab/start.ts';
import { systemClock } from '../src/main/node/clock.ts';
import { rows } from './dashboard-panels.ts';

/*
 * `node tools/dashboard-record.ts`, as root: four minutes of the metrics of a furiwake in the lab, with traffic, for the picture of
 * the dashboard.
 */

/** Samples of each series, as `name{labels}`, at equal intervals; `null`: it had none. */
export type DashboardRecord = {
  readonly intervalSeconds: number;
  readonly series: Readonly<Record<string, readonly (number | null)[]>>;
};

export const recordFile: string = path.join(import.meta.dirname, 'dashboard-record.json');

const intervalSeconds = 5;
const count = 48;
/** From then on a Service requests an address outside the pool. */
const troubleAt = 32;

const pods = (namespace: string): string => `apiVersion: v1
kind: Namespace
metadata: { name: ${namespace} }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo, namespace: ${namespace} }
spec:
  replicas: 2
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - { name: agnhost, image: ${imageNames.agnhost}, args: [netexec] }
---
`;
const service = (namespace: string, name: string, ports: string, more = '', annotations = ''): string => `apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: ${namespace}, annotations: { ${annotations} } }
spec: { type: LoadBalancer, selector: { app: echo }, ports: [${ports}]${more} }
---
`;
const http = '{ port: 80, targetPort: 8080 }';
const services =
  pods('shop') +
  pods('dns') +
  service('shop', 'web', http, '', `furiwake.dev/server-metrics: 'true'`) +
  service('shop', 'api', http) +
  service('shop', 'admin', http, ', loadBalancerSourceRanges: [10.0.0.0/8]') +
  service('dns', 'resolver', '{ port: 53, targetPort: 8081, protocol: UDP }', '', 'furiwake.dev/dataplane: direct');
const misplaced = service('shop', 'old', http, ', loadBalancerIP: 192.0.2.99');

/** Requests without end: about `rate` a second, more and less within a minute. */
const client = String.raw`
use strict;
use IO::Socket::IP;
my ($protocol, $address, $port, $text, $rate) = @ARGV;
for (my $turn = 0;; $turn++) {
  my $socket = IO::Socket::IP->new(Proto => $protocol, PeerHost => $address, PeerPort => $port, Timeout => 2);
  if ($socket) {
    $socket->send($text);
    vec(my $readable = "", fileno($socket), 1) = 1;
    if (select($readable, undef, undef, 1)) { while (sysread($socket, my $answer, 65536)) { last if $protocol eq "udp" } }
  }
  select(undef, undef, undef, 1 / $rate / (1 + 0.6 * sin(time / 9)));
}
`;
const get = (size: number): string => `GET /echo?msg=${'x'.repeat(size)} HTTP/1.0\r\n\r\n`;

/** The samples of the metrics that the dashboard has, in the Prometheus text format. */
function samplesIn(text: string): ReadonlyMap<string, number> {
  const metrics = new Set(
    rows.flatMap(({ panels }) => panels.flatMap(({ queries }) => queries.map(({ metric }) => metric))),
  );
  const samples = new Map<string, number>();
  for (const [, series = '', name = '', value] of text.matchAll(/^((\w+)(?:\{[^}]*\})?) (\S+)$/gm))
    if (metrics.has(name)) samples.set(series, Number(value));
  return samples;
}

async function record(signal: AbortSignal): Promise<DashboardRecord> {
  const progress = stderrProgress();
  await run([process.execPath, 'tools/build.ts'], { signal, cwd: path.join(import.meta.dirname, '..') });
  await using lab = await startLab({ name: 'dashboard', progress, signal });
  const cluster = await prepareCluster(lab, path.join(import.meta.dirname, '..', 'dist', 'furiwake.js'), signal);
  await using _furiwake = await cluster.startFuriwake();
  await lab.apply(services);
  const addressOf = async (namespace: string, name: string): Promise<string> => {
    const template = '-o=jsonpath={.status.loadBalancer.ingress[0].ip}';
    let address = '';
    await until(
      `an address for ${namespace}/${name}`,
      async () => (address = await lab.kubectl('get', 'service', name, '--namespace', namespace, template)) !== '',
      { signal },
    );
    return address;
  };
  const start = async (
    name: string,
    protocol: string,
    at: string,
    port: number,
    text: string,
    rate: number,
  ): Promise<void> => {
    const args = [protocol, at, String(port), text, String(rate)];
    await lab.host('client').spawn(`${name}-client`, ['perl', '-e', client, ...args]);
  };
  await start('web', 'tcp', await addressOf('shop', 'web'), 80, get(4_000), 60);
  await start('api', 'tcp', await addressOf('shop', 'api'), 80, get(600), 25);
  await start('admin', 'tcp', await addressOf('shop', 'admin'), 80, get(10), 1);
  await start('dns', 'udp', await addressOf('dns', 'resolver'), 53, 'hostname', 40);
  const taken: ReadonlyMap<string, number>[] = [];
  using step = progress.step('Recording');
  for (let index = 0; index < count; index++) {
    if (index === troubleAt) await lab.apply(misplaced);
    const { stdout } = await lab.host('lb1').exec(['curl', '--silent', 'http://127.0.0.1:9470/metrics'], { signal });
    taken.push(samplesIn(stdout));
    await systemClock.sleep(intervalSeconds * 1_000, signal);
  }
  step.done();
  const names = [...new Set(taken.flatMap((samples) => [...samples.keys()]))].sort();
  return {
    intervalSeconds,
    series: Object.fromEntries(names.map((name) => [name, taken.map((samples) => samples.get(name) ?? null)])),
  };
}

if (import.meta.main) {
  const interrupt = new AbortController();
  process.on('SIGINT', () => interrupt.abort());
  await writeFile(
    recordFile,
    `${JSON.stringify(await record(interrupt.signal), undefined, 1)
      .replaceAll(/\n {3}/g, ' ')
      .replaceAll(/\n {2}\]/g, ' ]')}\n`,
  );
}

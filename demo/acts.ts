import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { until } from '../lab/machine/until.ts';
import { furiwakeFile, type Stage } from './stage.ts';
import { namespace, nginxPod, nginxService } from './scenario.ts';
import type { Story } from './story.ts';
import { type Timings, measure } from './timings.ts';

const getService = ['kubectl', 'get', 'service', 'nginx', '--namespace', namespace];
const times = 100;

/** An ordinary Pod and Service, on a cluster without a load-balancer implementation. */
export async function showPending({ lab, type, signal }: Stage, story: Story): Promise<void> {
  const cp = lab.host('cp');
  await type(cp, ['kubectl', 'get', 'nodes', '--output', 'wide']);
  await lab.apply(nginxPod);
  await lab.apply(nginxService('nginx', 80));
  const wait = ['kubectl', 'wait', 'pod', 'nginx', '--namespace', namespace, '--for=condition=Ready', '--timeout=60s'];
  await cp.exec(wait, { signal, timeoutMs: 70_000 });
  await type(cp, ['kubectl', 'get', 'pods', '--namespace', namespace, '--output', 'wide']);
  const services = await type(cp, getService);
  story.check('the Service has no address: EXTERNAL-IP stays <pending>', services.includes('<pending>'));
}

/** furiwake on the load-balancer host, with only the permissions of deploy/. */
export async function showAddress({ lab, balancer, type, signal, startFuriwake }: Stage, story: Story): Promise<void> {
  await lab.apply(await readFile(path.join(import.meta.dirname, '..', 'deploy', 'furiwake.yaml'), 'utf8'));
  story.say('kubectl apply --filename deploy/furiwake.yaml: a ServiceAccount that may do just what furiwake does');
  await startFuriwake(await lab.serviceAccountKubeconfig('furiwake-system', 'furiwake'));
  const jsonpath = ['--output', 'jsonpath={.status.loadBalancer.ingress[*].ip}'];
  const ask = async (): Promise<string> => (await lab.host('cp').exec([...getService, ...jsonpath], { signal })).stdout;
  const address = await until('an address', async () => (await ask()) || undefined, { signal });
  await type(lab.host('cp'), getService);
  story.check(`EXTERNAL-IP is the load-balancer host's own address, ${balancer.ip4}`, address === balancer.ip4);
}

/** The page, from a client in another network. */
export async function showTraffic({ balancer, client, type, fetch, status }: Stage, story: Story): Promise<void> {
  const url = `http://${balancer.ip4}/`;
  await type(client, ['curl', '--silent', url], (page) => page.split('\n').slice(0, 4).join('\n'));
  const { good, failures, slowestMs } = await fetch(url, times);
  failures.forEach(story.say);
  story.check(`${good} of ${times} fetches by the client are answered, the slowest in ${slowestMs} ms`, good === times);
  await type(balancer, [furiwakeFile, 'status']);
  const totals = (await status()).nodes.filter(({ family }) => family === 4).map(({ total }) => total);
  story.check(
    'HAProxy’s counters: the connections went over both nodes',
    totals.length === 2 && Math.min(...totals) > 0,
  );
}

/** The node that does not run the Pod loses its network. */
export async function showNodeLoss({ lab, balancer, type, fetch, signal }: Stage, story: Story): Promise<void> {
  const jsonpath = ['--output', 'jsonpath={.spec.nodeName}'];
  const podNode = await lab.kubectl('get', 'pod', 'nginx', '--namespace', namespace, ...jsonpath);
  const lost = lab.host(podNode === 'n1' ? 'n2' : 'n1');
  story.say(`the Pod runs on ${podNode}; ${lost.name}'s network cable is pulled`);
  await lost.cutNetwork(signal);
  const { good, failures, slowestMs } = await fetch(`http://${balancer.ip4}/`, times);
  failures.forEach(story.say);
  story.check(`${good} of ${times} fetches are answered all the same, the slowest in ${slowestMs} ms`, good === times);
  await type(balancer, [furiwakeFile, 'status']);
  await lost.restoreNetwork(signal);
  story.say(`${lost.name} has its network again`);
}

/** The times of another Service. */
export async function showTimings(stage: Stage, story: Story): Promise<Timings> {
  story.say('another Service, on port 8080, is created and deleted, watched by kubectl and by the client');
  return measure(stage, stage.balancer.ip4);
}

/** The Service is deleted, then furiwake is removed: both leave no trace. */
export async function showRemoval({ lab, balancer, client, type, status, signal }: Stage, story: Story): Promise<void> {
  const cp = lab.host('cp');
  await type(cp, ['kubectl', 'delete', 'service', 'nginx', '--namespace', namespace]);
  const services = await lab.kubectl('get', 'services', '--namespace', namespace, '--output', 'name');
  story.check('the Service is gone from the cluster, no finalizer holds it', services === '');
  const refused = await client
    .exec(['curl', '--silent', '--max-time', '5', `http://${balancer.ip4}/`], { signal })
    .then(
      () => false,
      (error: unknown) => (error as { exitCode?: number }).exitCode === 7, // curl(1): failed to connect
    );
  story.check('the client is refused', refused);
  story.check('furiwake serves no Service', (await status()).services.length === 0);
  await balancer.stop('furiwake', signal);
  await type(balancer, [furiwakeFile, 'cleanup']);
  const tables = (await balancer.exec(['nft', 'list', 'tables'], { signal })).stdout.trim();
  const processes = (await balancer.exec(['ps', '-e', '-o', 'comm='], { signal })).stdout.split('\n');
  story.check('no nftables table is left on the host', tables === '');
  story.check('no HAProxy and no furiwake run on the host', !processes.some((line) => /haproxy|node|nft/.test(line)));
}

import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type NetLab, startNetLab } from '../../test/netns/net-lab.ts';
import { patience } from '../../test/netns/patience.ts';
import { type Furiwake, putWeb, startRun } from '../../test/netns/run-rig.ts';
import { type SimApiServer, startSimApiServer } from '../../test/sim/apiserver.ts';
import { askStatus, formatAnswer } from '../cli/status.ts';
import { askAdmin } from '../daemon/admin.ts';
import type { ServiceDetail } from '../daemon/service-detail.ts';
import { systemFiles } from './node/files.ts';
import { shownIps, shownStatus } from '../../test/sim/shown-status.ts';

const address = '10.50.0.1';
const own = 'own';
/** The record of other candidates. */
const knowsOther = `{"file":"candidates","version":1}\n{"identity":"lb2_c-d","seen":"2026-01-01T00:00:00Z"}\n`;
const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };

let lab: NetLab;
let server: SimApiServer;

beforeEach(async () => {
  lab = await startNetLab({ nodes: 1 });
  server = await startSimApiServer({ seed: 1 });
  server.put('Node', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '10.20.0.11' }] },
  });
  putWeb(server);
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});

const startFuriwake = (addresses = `${address}-10.50.0.9`): Promise<Furiwake> =>
  startRun({ lab, server }, addresses === own ? {} : { addresses });

const hasAddress = async (): Promise<boolean> =>
  (await lab.balancer.exec('ip', '-oneline', 'address')).includes(` ${address}/`);

test.each([
  ['that has always been alone serves its last table', []],
  ['that has seen another candidate adds no address', [knowsOther]],
])('after a reboot, a host %s before it holds the Lease', async (_, candidates) => {
  {
    await using _first = await startFuriwake();
    await expect.poll(hasAddress, patience).toBe(true);
  }
  await lab.balancer.exec('ip', 'address', 'del', `${address}/32`, 'dev', 'furiwake0'); // as a reboot does
  for (const text of candidates) await writeFile(`${lab.folder}/state/candidates.jsonl`, text);
  server.faults.isDown = true;

  await using second = await startFuriwake();
  await expect
    .poll(async () => (await second.status())?.notReady.join(), patience)
    .not.toContain('nothing is programmed yet');
  // On a busy machine adding an address outlasts the pass that begins it.
  await expect.poll(hasAddress, patience).toBe(candidates.length === 0);
  server.faults.isDown = false;
  await expect.poll(hasAddress, patience).toBe(true);
});

test('an address of the last table that is that of the API server by now is not served', async () => {
  {
    await using _first = await startFuriwake();
    await expect.poll(hasAddress, patience).toBe(true);
  }
  const path = `${lab.folder}/state/listeners.jsonl`;
  await writeFile(path, (await readFile(path, 'utf8')).replaceAll(address, '127.0.0.1'));
  await using second = await startFuriwake();
  await expect.poll(async () => (await second.status())?.notReady, patience).toEqual([]);
  const words = 'not served: 127.0.0.1 is in use as the API server';
  expect(second.log.lines.filter(({ message }) => message === words)).toHaveLength(1);
});

test('a state directory that is lost is written again: status answers, drains are kept, and the next start accepts it', async () => {
  const stateDir = `${lab.folder}/state`;
  const drained = 'no node takes connections: every node is drained: n1';
  const isThere = async (name: string): Promise<boolean> => await systemFiles.exists(`${stateDir}/${name}`);
  {
    await using first = await startFuriwake();
    await expect.poll(hasAddress, patience).toBe(true);
    await expect.poll(() => isThere('identity.jsonl'), patience).toBe(true);
    await askAdmin(`${stateDir}/admin.sock`, 'POST', '/drain', 'n1', AbortSignal.timeout(5_000));
    expect(await isThere('drains.jsonl')).toBe(true);
    await rm(stateDir, { recursive: true });
    await expect.poll(async () => (await first.status())?.notReady, patience).toEqual([drained]);
    for (const name of ['identity.jsonl', 'drains.jsonl', 'furiwake-state']) expect(await isThere(name)).toBe(true);
    expect(first.log.lines.filter(({ message }) => message.includes(`${stateDir} was lost`))).toHaveLength(1);
  }
  await using second = await startFuriwake();
  await expect.poll(async () => (await second.status())?.notReady, patience).toEqual([drained]);
  expect(await hasAddress()).toBe(true);
});

test('a start with another state directory takes over the HAProxy that runs, and adds none beside it', async () => {
  const addresses = `${address}-10.50.0.9`;
  const onPort = (): Promise<string> => lab.balancer.exec('ss', '-Hltnp', 'sport = :292');
  {
    await using first = await startFuriwake(addresses);
    await expect.poll(async () => (await first.status())?.notReady, patience).toEqual([]);
  }
  const before = await onPort();
  expect(before.trim().split('\n')).toHaveLength(2); // one socket for each family
  await using second = await startRun({ lab, server }, { addresses, stateDir: `${lab.folder}/other` });
  await expect.poll(async () => (await second.status())?.notReady, patience).toEqual([]);
  expect([await onPort(), shownIps(server, 'default/web')]).toEqual([before, [address]]);
});

test('a host that sees a candidate in its Lease records that it is not alone, and gives its addresses a lifetime', async () => {
  await using _furiwake = await startFuriwake();
  await expect.poll(hasAddress, patience).toBe(true);
  const lifetimes = (): Promise<string> => lab.balancer.exec('ip', 'address', 'show', 'dev', 'furiwake0');
  expect(await lifetimes()).not.toMatch(/valid_lft \d+sec/);

  await expect.poll(() => server.list('Lease').length, patience).toBe(1);
  const candidates = JSON.stringify({ 'lb2_c-d': new Date().toISOString() });
  const [held] = server.list('Lease');
  const annotations = { 'furiwake.dev/candidates': candidates };
  server.put('Lease', { ...lease, metadata: { ...held!.metadata, annotations }, spec: { ...held!.spec } });
  await expect.poll(lifetimes, patience).toMatch(/valid_lft 1?\dsec/);
  const recorded = (): Promise<string> => readFile(`${lab.folder}/state/candidates.jsonl`, 'utf8').catch(() => '');
  await expect.poll(recorded, patience).toContain('lb2_c-d');
});

test('a host that lost the Lease shows no plan of its last term, and the new one when it has the Lease again', async () => {
  await using furiwake = await startFuriwake();
  await expect.poll(async () => (await furiwake.status())?.notReady, patience).toEqual([]);
  expect(await furiwake.status()).toMatchObject({ pool: { used: 1 }, services: [{ service: 'default/web' }] });

  const [held] = server.list('Lease');
  server.put('Lease', {
    ...lease,
    metadata: held!.metadata,
    spec: { ...held!.spec, holderIdentity: 'lb2_c-d', renewTime: '2026-01-01T00:00:00.000000Z' },
  });
  await expect.poll(async () => (await furiwake.status())?.services, patience).toEqual([]);
  const lost = await furiwake.status();
  expect(lost?.notReady).toContain('Services and Nodes are not known yet');
  expect([lost?.pool, lost?.nodeStates, lost?.unusedNodes, lost?.otherServices]).toEqual([undefined, undefined, [], 0]);

  server.put('Lease', { ...lease, metadata: held!.metadata, spec: { ...held!.spec, holderIdentity: '' } });
  await expect.poll(async () => (await furiwake.status())?.services.length, patience).toBe(1);
});

test('a host whose ledger is of a newer release ends before it asks for the Lease', async () => {
  {
    await using _first = await startFuriwake();
    await expect.poll(hasAddress, patience).toBe(true);
  }
  const path = `${lab.folder}/state/ledger.jsonl`;
  const ledger = await readFile(path, 'utf8');
  await writeFile(path, ledger.replace('"version":2', '"version":3'));
  const before = server.list('Lease');
  const second = await startFuriwake();
  await expect(second.ended).rejects.toThrow('was written by a newer release');
  expect(server.list('Lease')).toEqual(before);
  await writeFile(path, ledger);
});

test('the kernel removes the addresses of a host that is not alone after furiwake has ended, and a restart adds them', async () => {
  {
    await using _first = await startFuriwake();
    await expect.poll(hasAddress, patience).toBe(true);
    await writeFile(`${lab.folder}/state/candidates.jsonl`, knowsOther);
  }
  expect(await hasAddress()).toBe(true);
  {
    await using _second = await startFuriwake();
    await expect.poll(hasAddress, patience).toBe(true);
    await expect.poll(() => lab.balancer.exec('ip', 'address'), patience).toMatch(/valid_lft 1?\dsec/);
  }
  expect(server.list('Lease')[0]?.['spec']).toMatchObject({ holderIdentity: expect.stringMatching(/^\S+_/) });
  expect(await hasAddress()).toBe(true);
  await expect.poll(hasAddress, patience).toBe(false);
  await using _third = await startFuriwake();
  await expect.poll(hasAddress, patience).toBe(true);
});

test('a Service keeps the own address of the host while the link is down, the default route gone, or the address lost', async () => {
  const ip = (...args: readonly string[]): Promise<string> => lab.balancer.exec('ip', ...args);
  const addRoute = (): Promise<string> => ip('route', 'add', 'default', 'via', '10.10.0.2', 'dev', 'wan');
  const ips = (): readonly string[] => shownIps(server, 'default/web');
  const conditions = (): string => JSON.stringify(shownStatus(server, 'default/web').conditions);
  await addRoute();
  {
    await using furiwake = await startFuriwake(own);
    const ranges = async (): Promise<readonly string[] | undefined> => (await furiwake.status())?.pool?.ranges;
    await expect.poll(ips, patience).toEqual(['10.10.0.1']);
    await expect.poll(ranges, patience).toEqual(['10.10.0.1']);

    await ip('link', 'set', 'wan', 'down'); // the kernel deletes the routes of the link
    await expect.poll(ranges, patience).toEqual([]);
    expect([ips(), conditions()]).toEqual([['10.10.0.1'], expect.stringContaining('"reason":"Assigned"')]);

    await ip('address', 'del', '10.10.0.1/24', 'dev', 'wan');
    await expect.poll(conditions, patience).toContain('10.10.0.1 is no longer an address of this host');
    expect(ips()).toEqual(['10.10.0.1']);
  }
  await using again = await startFuriwake(own);
  await expect.poll(async () => (await again.status())?.services, patience).toMatchObject([{ service: 'default/web' }]);
  expect([ips(), conditions()]).toEqual([['10.10.0.1'], expect.stringContaining('"reason":"Assigned"')]);

  await ip('address', 'add', '10.10.0.1/24', 'dev', 'wan');
  await ip('link', 'set', 'wan', 'up');
  await addRoute();
  await expect.poll(conditions, patience).not.toContain('is no longer an address of this host');
  expect(ips()).toEqual(['10.10.0.1']);
});

test('files of the state directory that are removed while furiwake runs are written again within half a minute', async () => {
  await using furiwake = await startFuriwake();
  await expect.poll(hasAddress, patience).toBe(true);
  await expect.poll(async () => (await furiwake.status())?.notReady, patience).toEqual([]);
  const stateDir = `${lab.folder}/state`;
  const namesNow = async (): Promise<readonly string[]> => (await readdir(stateDir)).toSorted();
  const names = await namesNow();
  expect(names).toEqual(expect.arrayContaining(['identity.jsonl', 'ledger.jsonl', 'listeners.jsonl', 'tenure.jsonl']));
  for (const name of names) if (name !== 'furiwake-state') await rm(`${stateDir}/${name}`);
  await expect.poll(namesNow, patience).toEqual(names);
  expect((await furiwake.status())?.notReady).toEqual([]);
});

test('status of a Service shows its listener with the connections and bytes that HAProxy counts', async () => {
  const node = lab.nodes[0]!;
  await node.ask({ do: 'serveLines', port: 30_080, greeting: '220 n1\n' });
  await node.ask({ do: 'serveHttp', port: 10_256, body: '{}' });
  await using furiwake = await startFuriwake();
  await expect.poll(async () => (await furiwake.status())?.notReady, patience).toEqual([]);
  await expect.poll(hasAddress, patience).toBe(true);
  const { id = 0 } = await lab.client.ask({ do: 'dial', address, port: 80 });
  await expect.poll(() => lab.client.ask({ do: 'heard', id }), patience).toMatchObject({ text: '220 n1\n' });

  const shown = async (service: string, isJson: boolean): Promise<string> => {
    const request = { stateDir: `${lab.folder}/state`, service, isJson };
    const answer = await askStatus(request, AbortSignal.timeout(5_000));
    return formatAnswer(request, answer, { isColoured: false, columns: undefined });
  };
  const listener = async (): Promise<unknown> =>
    (JSON.parse(await shown('default/web', true)) as ServiceDetail).listeners[0];
  // The connection stays open: HAProxy counts its bytes nonetheless.
  await expect.poll(listener, { ...patience, timeout: 15_000 }).toMatchObject({
    address,
    port: 80,
    dataplane: 'haproxy',
    nodePort: 30_080,
    traffic: { connections: 1, total: 1, bytesIn: 0, bytesOut: 7 },
  });
  expect(await shown('default/web', false)).toMatch(/ {2}haproxy \(TCP\) +30080 {2}all +1 +1 +\S+ +0\/7 /);
  expect((await furiwake.status())?.services).toMatchObject([{ traffic: { connections: 1, bytesOut: 7 } }]);
  await expect(shown('default/other', false)).rejects.toThrow('Service "default/other" not found');
});

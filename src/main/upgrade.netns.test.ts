import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { endpointSlice } from '../../test/make/endpoint-slice.ts';
import { makeMachine, makeOptions } from '../../test/make/machine.ts';
import { type NetLab, startNetLab } from '../../test/netns/net-lab.ts';
import { patience } from '../../test/netns/patience.ts';
import { type SimApiServer, startSimApiServer } from '../../test/sim/apiserver.ts';
import type { SimObject } from '../../test/sim/kinds.ts';
import { recordLog } from '../../test/sim/observers.ts';
import { askAdmin } from '../daemon/admin.ts';
import type { CommandDeps } from '../daemon/platform.ts';
import type { HostStatus } from '../daemon/host-status.ts';
import { cleanup } from './cleanup.ts';
import { systemClock } from './node/clock.ts';
import { systemFiles } from './node/files.ts';
import { makeMetrics } from './node/metrics.ts';
import { run } from './run.ts';
import { shownIps } from '../../test/sim/shown-status.ts';

/*
 * A host as release 0.1.0 leaves it: its state directory (test/fixtures/state-0.1.0), its running HAProxy, its nftables
 * table, routing and addresses. The addresses of the fixture are replaced by those of the lab.
 */
const [web, webIpv6, dns] = ['10.50.0.200', 'fd50::200', '10.50.0.202'] as const;
const replaced: readonly (readonly [string, string])[] = [
  ['192.0.2.20', '10.50.0.20'], // the addresses of the Services
  ['2001:db8:0:1::200', webIpv6],
  ['192.0.2.11', '10.20.0.11'], // n1
  ['2001:db8:0:1::11', 'fd20::11'],
  ['192.0.2.12', '10.20.0.12'], // n2
  ['192.0.2.10"', '10.10.0.1"'], // the own address of the host
  ['192.0.2.10|', '10.10.0.1|'],
  ['"eth0"', '"wan"'],
];
async function fromRepository(path: string, ...changes: readonly (readonly [string, string])[]): Promise<string> {
  const text = await readFile(new URL(`../../${path}`, import.meta.url), 'utf8');
  return changes.reduce((before, [old, present]) => before.replaceAll(old, present), text);
}

async function installRelease(
  lab: NetLab,
  stateDir: string,
  uids: readonly (readonly [string, string])[],
): Promise<void> {
  const { balancer } = lab;
  const haproxy = `${stateDir}/haproxy`;
  await mkdir(haproxy, { recursive: true });
  for (const name of await readdir(new URL('../../test/fixtures/state-0.1.0/', import.meta.url)))
    await writeFile(
      `${stateDir}/${name}`,
      await fromRepository(`test/fixtures/state-0.1.0/${name}`, ...replaced, ...uids),
    );

  const config = await fromRepository(
    'src/dataplane/haproxy/config/__golden__/release-0.1.0.cfg',
    ['/var/lib/furiwake/haproxy', haproxy],
    ['192.0.2.11', '10.20.0.11'],
    ['192.0.2.12', '10.20.0.12'],
    ['2001:db8::11', 'fd20::11'],
    ['maxconn 8900', 'maxconn 1500'],
  );
  await writeFile(`${haproxy}/haproxy.cfg`, config);
  const entries = [
    `${web}|80 nodes4|30080|750|00`,
    `${webIpv6}|80 nodes6|30080|750|00`,
    `${dns}|53 nodes4|30053|750|01`,
  ];
  await writeFile(`${haproxy}/services.map`, entries.map((entry) => `${entry}\n`).join(''));
  const args = ['-W', '-D', '-f', `${haproxy}/haproxy.cfg`, '-p', `${haproxy}/haproxy.pid`];
  await balancer.exec('haproxy', ...args, '-S', `${haproxy}/master.sock,mode,600,level,admin`);

  await balancer.exec('ip', 'link', 'add', 'furiwake0', 'type', 'bridge');
  await balancer.exec('ip', 'link', 'set', 'furiwake0', 'up');
  for (const address of [web, dns])
    await balancer.exec('ip', 'address', 'add', `${address}/32`, 'dev', 'furiwake0', 'scope', 'link');
  await balancer.exec('ip', 'address', 'add', `${webIpv6}/128`, 'dev', 'wan', 'preferred_lft', '0', 'nodad');
  for (const family of ['-4', '-6']) {
    await balancer.exec('ip', family, 'rule', 'add', 'pref', '82', 'fwmark', '0x2000/0x2000', 'lookup', '8192');
    await balancer.exec('ip', family, 'route', 'add', 'local', 'default', 'dev', 'lo', 'table', '8192');
  }
  // The table of 0.1.0 differs from the present one only in its comment.
  const table = await fromRepository(
    'src/dataplane/nftables/__golden__/open-listeners.nft',
    ['managed by furiwake: external changes are reverted', 'furiwake 0.1.0'],
    ['10.50.0.1', web],
    ['10.50.0.2 . 443', `${dns} . 53`],
    ['10.50.0.2\n', `${dns}\n`],
    ['fd50::1', webIpv6],
    [': 10000', ': 17100'],
  );
  await balancer.nft(table);
}

const service = (
  namespace: string,
  name: string,
  ports: readonly number[],
  ipFamilies: readonly string[],
): SimObject => ({
  metadata: { namespace, name },
  spec: {
    type: 'LoadBalancer',
    ipFamilies,
    ports: ports.map((port) => ({ name: `p${port}`, port, protocol: 'TCP', nodePort: 30_000 + port })),
  },
});

/** `furiwake run` and `furiwake cleanup` on the load-balancer host of the lab. */
function commandsOn(lab: NetLab, server: SimApiServer, stateDir: string) {
  const kubeconfig = `${lab.folder}/kubeconfig`;
  const options = makeOptions({
    kubeconfig,
    addresses: '10.50.0.200-10.50.0.209,fd50::200-fd50::209',
    stateDir,
    metricsAddress: 'none',
  });
  const machine = makeMachine({
    clock: systemClock,
    random: Math.random,
    exec: lab.balancer.execPort,
    files: systemFiles,
    newId: randomUUID,
    runFolder: `${lab.folder}/run`,
  });
  const log = recordLog();
  const metrics = makeMetrics();
  const deps: CommandDeps = { version: '0.2.0', machine, log, metrics, onReload: () => undefined };
  return {
    log,
    metrics,
    run: async (): Promise<AsyncDisposable & { status(): Promise<HostStatus | undefined> }> => {
      await writeFile(kubeconfig, server.kubeconfig());
      const stop = new AbortController();
      const ended = run(options, deps, stop.signal);
      ended.catch(() => undefined); // awaited below
      return {
        status: async () => {
          const signal = AbortSignal.timeout(5_000);
          const text = await askAdmin(`${stateDir}/admin.sock`, 'GET', '/status', '', signal).catch(() => undefined);
          return text === undefined ? undefined : (JSON.parse(text) as HostStatus);
        },
        [Symbol.asyncDispose]: async () => {
          stop.abort();
          await ended;
        },
      };
    },
    cleanup: () => cleanup(options, false, deps, AbortSignal.timeout(30_000)),
  };
}

test('a host of release 0.1.0 is upgraded while its HAProxy serves, and can go back after a cleanup', async () => {
  await using lab = await startNetLab({ nodes: 1 });
  await using server = await startSimApiServer({ seed: 1 });
  const { balancer, client } = lab;
  const stateDir = `${lab.folder}/state`;
  for (const port of [30_080, 30_053]) await lab.nodes[0]?.ask({ do: 'serveLines', port, greeting: `220 ${port}\n` });
  await lab.nodes[0]?.ask({ do: 'serveHttp', port: 10_256, body: '{}' });
  server.put('Namespace', { metadata: { name: 'furiwake-system' } });
  const addresses = ['10.20.0.11', 'fd20::11'].map((address) => ({ type: 'InternalIP', address }));
  server.put('Node', { metadata: { name: 'n1' }, status: { addresses } });
  server.put('Service', service('default', 'web', [80], ['IPv4', 'IPv6']));
  server.put('Service', service('dns', 'coredns', [53], ['IPv4']));
  for (const family of ['IPv4', 'IPv6'] as const) server.put('EndpointSlice', endpointSlice('web', 'default', family));
  server.put('EndpointSlice', endpointSlice('coredns', 'dns'));
  const uidOf = (key: string): string => server.get('Service', key)?.metadata.uid ?? '';
  await installRelease(lab, stateDir, [
    ['11111111-0000-4000-8000-000000000001', uidOf('default/web')],
    ['11111111-0000-4000-8000-000000000003', uidOf('dns/coredns')],
  ]);
  const { id = 0 } = await client.ask({ do: 'dial', address: web, port: 80 });
  const heard = async (): Promise<string> => (await client.ask({ do: 'heard', id })).text ?? '';
  await expect.poll(heard, patience).toMatch(/^220 /);
  const echoes = async (word: string): Promise<void> => {
    await client.ask({ do: 'say', id, text: word });
    await expect.poll(heard, patience).toContain(word);
  };
  const answersOn = async (address: string, port: number): Promise<string> => {
    const dialled = await client.ask({ do: 'dial', address, port });
    if (dialled.id === undefined) return dialled.error ?? '';
    const { id: fresh } = dialled;
    await expect.poll(async () => (await client.ask({ do: 'heard', id: fresh })).text, patience).toMatch(/^220 /);
    await client.ask({ do: 'hangUp', id: fresh });
    return 'answers';
  };
  const onHost = async (): Promise<readonly string[]> =>
    [...(await balancer.exec('ip', '-oneline', 'address')).matchAll(/ ((?:10\.50|fd50)[^/ ]*)\//g)]
      .map(([, address = '']) => address)
      .toSorted();

  const host = commandsOn(lab, server, stateDir);
  {
    await using furiwake = await host.run();
    await expect.poll(async () => (await furiwake.status())?.notReady, patience).toEqual([]);
    await echoes('upgraded');
    await expect.poll(() => shownIps(server, 'default/web'), patience).toEqual([web, webIpv6]);
    await expect.poll(() => shownIps(server, 'dns/coredns'), patience).toEqual([dns]); // not the lowest free one
    expect(await Promise.all([answersOn(web, 80), answersOn(webIpv6, 80), answersOn(dns, 53)])).toEqual(
      Array.from({ length: 3 }, () => 'answers'),
    );
    expect(await onHost()).toEqual([web, dns, webIpv6]);
    expect(await balancer.exec('ss', '-Hltn', 'sport = :17100')).toBe('');
    expect(await host.metrics.text([])).toMatch(/^furiwake_reloads_total 1$/m);
    expect(host.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
    const replacedFiles = async (): Promise<readonly string[]> =>
      (await readdir(stateDir)).filter((name) =>
        ['identity', 'nodes.json', 'records.jsonl', 'rows.jsonl'].includes(name),
      );
    await expect.poll(replacedFiles, patience).toEqual([]); // addresses.json stays until an address changes
    await echoes('still here');
  }

  await host.cleanup();
  // 0.1.0 reads nothing but the statuses then
  expect(await readdir(lab.folder)).not.toEqual(expect.arrayContaining([expect.stringMatching(/^(state|run)$/)]));
  expect(await onHost()).toEqual([]);
  expect(await balancer.exec('ss', '-Hltn', 'sport = :292')).toBe('');
  expect(await balancer.exec('nft', 'list', 'tables')).toBe('');
  expect(await balancer.exec('ip', 'rule')).not.toContain('8192');
  expect(shownIps(server, 'default/web')).toEqual([web, webIpv6]);
  expect(shownIps(server, 'dns/coredns')).toEqual([dns]);
});

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { Host } from '../../lab/network/host.ts';
import { readPage, shellBlocks } from '../../tools/page.ts';
import { askByUdp } from './harness/datagrams.ts';
import { eventually } from './harness/eventually.ts';
import { fetchFrom, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { makeFuriwake } from './harness/furiwake.ts';
import { readHostState, untilHostState } from './harness/host-state.ts';
import { account } from './harness/names.ts';
import { isRoot, useStage } from './harness/stage.ts';

const page = readPage('docs/getting-started.md');
const flags = ['--addresses', '203.0.113.0/28,2001:db8:0:3::/124'];

/** Runs commands exactly as on the page, in a shell that exits at the first failure. */
async function type(host: Host, commands: string): Promise<void> {
  await host.exec(['sh', '-e', '-c', commands], { timeoutMs: 60_000 });
}

/** The kernel's switches of forwarding, a line for each link and family. */
async function readForwarding(host: Host): Promise<string> {
  return (await host.exec(['sh', '-c', 'grep . /proc/sys/net/ipv[46]/conf/*/forwarding'])).stdout;
}

describe.skipIf(!isRoot)('the commands of docs/getting-started.md', () => {
  const stage = useStage({ isStarted: false, flags });
  const letGo = async (): Promise<void> => {
    const { services } = stage();
    if (services.left().includes('shared')) await services.change('shared', { metadata: { finalizers: null } });
  };
  afterEach(letGo); // no other controller removes the foreign finalizer

  describe('for a kubeconfig', () => {
    afterEach(async () => {
      const { lab, lb1 } = stage();
      await lb1.exec(['rm', '-rf', '/etc/furiwake']);
      await lab.kubectl('delete', 'secret', 'furiwake-token', '--namespace', account.namespace, '--ignore-not-found');
    });

    test.each([
      ['A token that does not expire', { 'furiwake.kubeconfig': 'kubeconfig' }],
      ['A token that expires and is renewed', { 'furiwake.kubeconfig': 'kubeconfig', token: 'token' }],
    ])('%s: creates a working kubeconfig', async (heading, files) => {
      const { lab, lb1, services, client } = stage();
      const [commands = '', ...others] = shellBlocks(page, heading);
      expect(others).toEqual([]);
      const folder = path.join(lab.folder, heading.replaceAll(' ', '-'));
      await mkdir(folder, { recursive: true });
      await type(lab.host('cp'), `cd ${folder}\n${commands}`);
      for (const [file, name] of Object.entries(files))
        await lb1.exec(['install', '-D', '--mode=600', path.join(folder, file), `/etc/furiwake/${name}`]);

      const whoami = ['auth', 'whoami', '--output', 'jsonpath={.status.userInfo.username}'];
      const { stdout } = await lb1.exec(['kubectl', '--kubeconfig', '/etc/furiwake/kubeconfig', ...whoami]);
      expect(stdout).toBe(`system:serviceaccount:${account.namespace}:${account.name}`);
      await using furiwake = makeFuriwake(lab, { flags: [...flags, '--kubeconfig', '/etc/furiwake/kubeconfig'] });
      await furiwake.start();
      await services.create('typed');
      const [ip = ''] = await services.published('typed');
      await untilAnswer(client, urlOf(ip), fromWeb);
      await services.remove('typed');
      await furiwake.stop();
    });
  });

  test('if furiwake was removed first: the commands release Services, clear their status, and leave nothing on the host', async () => {
    const { lab, lb1, services, furiwake, client } = stage();
    const cp = lab.host('cp');
    const [finalizerLines = '', statusLines = '', boxLines = '', ...others] = shellBlocks(
      page,
      'If furiwake was removed first',
    );
    expect(others).toEqual([]);
    expect(await furiwake.command(['cleanup'])).toMatchObject({ code: 0 }); // of the tests before
    const before = await readHostState(lb1);
    const forwarding = await readForwarding(lb1);
    await furiwake.start();
    const names = ['stuck', 'shared', 'stays', 'dns'];
    const families = { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv4', 'IPv6'] };
    const ports = [{ name: 'dns', port: 53, protocol: 'UDP', targetPort: 8081 }];
    for (const name of names) {
      await services.create(name, name === 'dns' ? { spec: { ...families, ports } } : {});
      await services.published(name, name === 'dns' ? 2 : 1);
    }
    const [dnsIp = ''] = await services.published('dns', 2);
    const ask = (): Promise<readonly string[]> => askByUdp(client, { address: dnsIp, port: 53, text: 'hostname' });
    await eventually(async () => expect(await ask()).toEqual([expect.stringMatching(fromWeb)]));
    expect(await readForwarding(lb1)).not.toBe(forwarding);
    const [ip = ''] = await services.published('stays');
    await untilAnswer(client, urlOf(ip), fromWeb);
    const theirs = 'example.com/theirs';
    const { finalizers = [] } = (await services.get('shared')).metadata;
    await services.change('shared', { metadata: { finalizers: [...finalizers, theirs] } });
    await furiwake.kill();
    for (const name of ['stuck', 'shared']) await services.markDeleted(name);
    expect((await services.get('stuck')).metadata.finalizers).toHaveLength(2);

    await type(cp, finalizerLines);
    await services.remove('stuck');
    expect((await services.get('shared')).metadata.finalizers).toEqual([theirs]);
    expect((await services.get('stays')).metadata.finalizers).toBeUndefined();
    expect(await services.published('stays')).toEqual([ip]);

    await type(cp, statusLines);
    for (const name of ['shared', 'stays', 'dns'])
      expect((await services.get(name)).status).toEqual({ loadBalancer: {} });

    await type(lb1, boxLines);
    await untilHostState(lb1, before);
    expect(await readForwarding(lb1)).toBe(forwarding);
    expect(await ask()).toEqual(['silence']);
    await eventually(async () => expect(await fetchFrom(client, urlOf(ip), 1)).not.toMatch(fromWeb));
    await letGo();
    for (const name of names) await services.remove(name);
  });
});

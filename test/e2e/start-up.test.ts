import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { writeKubeconfig } from '../../lab/cluster/kubeconfig.ts';
import { eventually } from './harness/eventually.ts';
import { fetchFrom, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { makeFuriwake } from './harness/furiwake.ts';
import { readHostState, untilHostState } from './harness/host-state.ts';
import { kubeconfigOf, namespace } from './harness/names.ts';
import { isRoot, useStage } from './harness/stage.ts';

/** The message of the last line of the log, which says why `run` ended. */
function lastOf(said: string): string {
  const { level, msg } = JSON.parse(said.trimEnd().split('\n').at(-1) ?? '') as { level: string; msg: string };
  expect(level).toBe('error');
  expect(msg).not.toContain('\n'); // for users, without a stack
  return msg;
}

describe.skipIf(!isRoot)('furiwake that cannot start', () => {
  const stage = useStage({ isStarted: false });

  test.each([
    ['--no-such-flag'],
    ['--addresses', '192.0.2.300'],
    ['--addresses', '192.0.2.9-192.0.2.1'],
    ['--addresses', ''],
    ['--load-balancer-class', 'no class'],
    ['--default-class', 'perhaps'],
    ['--namespaces', 'UPPER'],
    ['--lease-namespace', 'a/b'],
    ['--reserved-ports', '22,70000'],
    ['--state-dir', 'relative/path'],
    ['--idle-timeout', '0'],
    ['--metrics-address', 'nowhere'],
    ['--log-level', 'loud'],
    ['--log-format', 'xml'],
  ])('for an invalid flag (%s %s) names it and exits with 2', async (...flags) => {
    const { furiwake } = stage();
    const { code, said } = await furiwake.command(['run', ...flags]);
    expect(said).toContain(flags[0]);
    expect(code).toBe(2);
  });

  test.each([[], ['no-such-command']])('for a missing or unknown command (%s) exits with 2', async (...args) => {
    expect(await stage().furiwake.command(args)).toMatchObject({ code: 2, said: expect.stringMatching(/\S/) });
  });

  describe('for a missing requirement prints one line, exits with 1 and changes nothing', () => {
    const kubeconfigs = new Map<string, string>();

    beforeAll(async () => {
      const { lab } = stage();
      const garbage = path.join(lab.folder, 'kubeconfig', 'garbage');
      await writeFile(garbage, 'clusters: [');
      kubeconfigs
        .set('that of deploy/', kubeconfigOf(lab))
        .set('a missing one', '/nonexistent/kubeconfig')
        .set('an invalid one', garbage)
        .set('one with a refused token', await writeKubeconfig(lab.folder, 'refused', 'no-token'))
        .set('one without permissions', await lab.serviceAccountKubeconfig(namespace, 'default'));
    });

    test.each([
      ['a missing one', [], '/nonexistent/kubeconfig'],
      ['an invalid one', [], 'garbage'],
      ['one with a refused token', [], 'credentials'],
      ['one without permissions', [], 'missing permissions: list services, watch services, patch services'],
      ['that of deploy/', ['--context', 'other'], 'other'],
      ['that of deploy/', ['--addresses', '10.96.7.0/24'], '10.96.0.0/16'],
      ['that of deploy/', ['--addresses', '203.0.113.1,10.244.0.0-10.244.0.9'], 'Pod CIDR'],
      ['that of deploy/', ['--addresses', 'fd00:10:96::/120'], 'fd00:10:96::/112'],
      ['that of deploy/', ['--lease-namespace', 'default'], 'in default'],
    ])('kubeconfig: %s, flags: %j', async (kubeconfig, flags, word) => {
      const { furiwake, lb1 } = stage();
      const before = await readHostState(lb1);
      const site = ['--kubeconfig', kubeconfigs.get(kubeconfig) ?? '', '--metrics-address', 'none'];
      const { code, said } = await furiwake.command(['run', ...site, ...flags]);
      expect(lastOf(said)).toContain(word);
      expect(code).toBe(1);
      await untilHostState(lb1, before);
    });

    test.each(['haproxy', 'nft'])('a host on which %s does not start', async (program) => {
      const { furiwake, lb1, lab } = stage();
      const file = `/usr/sbin/${program}`;
      await lb1.exec(['mount', '--bind', '/dev/null', file]);
      try {
        const { code, said } = await furiwake.command(['run', '--kubeconfig', kubeconfigOf(lab)]);
        expect(lastOf(said)).toMatch(
          new RegExp(`${program} is not usable \\(permission denied\\).*apt-get install --reinstall`),
        );
        expect(code).toBe(1);
      } finally {
        await lb1.exec(['umount', file]);
      }
    });
  });
});

describe.skipIf(!isRoot)('a second furiwake', () => {
  const stage = useStage();

  test('with the state directory of a running one exits and names its PID', async () => {
    const { furiwake, lab } = stage();
    const { pid } = await furiwake.status();
    const { code, said } = await furiwake.command(['run', '--kubeconfig', kubeconfigOf(lab)]);
    expect(lastOf(said)).toMatch(new RegExp(`PID ${pid}\\b`));
    expect(code).toBe(1);
  });

  test('for the same class waits and names the holder, changes nothing, and takes over when the holder ends', async () => {
    const { furiwake, services, client, lab, lb1 } = stage();
    const lb2 = lab.host('lb2');
    const before = await readHostState(lb2);
    await using second = makeFuriwake(lab, { host: lb2 });
    await second.launch();
    expect(await second.logged('holds the Lease for class')).toMatchObject({
      holder: expect.stringMatching(/^lb1_/),
    });
    await services.create('one');
    expect(await services.published('one')).toEqual([lb1.ip4]);
    expect({ ...(await readHostState(lb2)), processes: '' }).toEqual({ ...before, processes: '' });
    expect((await second.status()).notReady).not.toEqual([]);

    await furiwake.stop();
    await eventually(async () => expect((await second.status()).notReady).toEqual([]));
    await second.logged('"msg":"ready: 1 Service served; nodes: 2 up"');
    // Each assigns its own address: the one in the status is from the first one, and must stay.
    await eventually(async () => expect(await services.published('one')).toEqual([lb2.ip4]));
    expect((await readHostState(lb2)).addresses).not.toContain(lb1.ip4);
    await untilAnswer(client, urlOf(lb2.ip4), fromWeb);
    expect(await fetchFrom(client, urlOf(lb1.ip4))).toMatch(fromWeb);
    await services.remove('one');
    await second.stop();
    expect(await second.command(['cleanup'])).toMatchObject({ code: 0 });
    await untilHostState(lb2, before);
  });
});

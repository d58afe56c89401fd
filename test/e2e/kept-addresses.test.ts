import { describe, expect, test } from 'vitest';
import type { Host } from '../../lab/network/host.ts';
import { eventually } from './harness/eventually.ts';
import { fetchFrom, fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { makeFuriwake } from './harness/furiwake.ts';
import { kubeconfigOf } from './harness/names.ts';
import { isRoot, useStage } from './harness/stage.ts';
import { startTraffic } from './harness/traffic.ts';

const flags = ['--addresses', '192.0.2.200-192.0.2.209'];

/** The MACs that answer three broadcast requests for an address. */
async function macsOf(host: Host, ip: string): Promise<readonly string[]> {
  const { stdout } = await host.exec(['arping', '-b', '-c', '3', '-w', '4', '-I', 'eth0', ip]);
  return [...new Set([...stdout.matchAll(/reply from \S+ \[([0-9A-F:]+)\]/g)].map(([, mac = '']) => mac))];
}

describe.skipIf(!isRoot)('a host that was always alone, stopped without cleanup, and another one that is started', () => {
  const stage = useStage({ isStarted: false, flags });

  test('never answer for one address; the new host serves each address when the old one has given it up', async () => {
    const { furiwake, services, lanclient, lab } = stage();
    await furiwake.start();
    await services.create('kept');
    const [ip = ''] = await services.published('kept');
    await untilAnswer(lanclient, urlOf(ip), fromWeb);
    await using traffic = await startTraffic(lanclient, urlOf(ip));
    await furiwake.stop();

    await using second = makeFuriwake(lab, { host: lab.host('lb2'), flags });
    await second.launch();
    const condition = await services.condition('kept', 'Serving', 'AnsweredElsewhere');
    expect(condition.message).toMatch(/another machine on the LAN .* answers for it, as host lb1 may do/);
    expect((await second.status()).notReady).toEqual([expect.stringContaining('run furiwake cleanup on lb1')]);
    expect(await services.published('kept')).toEqual([ip]);
    const [old = '', ...others] = await macsOf(lanclient, ip);
    expect(others).toEqual([]);
    await services.create('fresh');
    const [fresh = ''] = await services.published('fresh');
    await untilAnswer(lanclient, urlOf(fresh), fromWeb);
    expect(await macsOf(lanclient, fresh)).not.toContain(old);
    expect(await traffic.after(20)).toMatchObject({ failed: 0, broken: 0 });

    expect(await furiwake.command(['cleanup', '--kubeconfig', kubeconfigOf(lab)])).toMatchObject({ code: 0 });
    await services.condition('kept', 'Serving', 'Serving');
    await untilAnswer(lanclient, urlOf(ip), fromWeb);
    expect(await macsOf(lanclient, ip)).toEqual(await macsOf(lanclient, fresh));
    await eventually(async () => expect((await second.status()).notReady).toEqual([]));
    expect(await fetchFrom(lanclient, urlOf(ip))).toMatch(fromWeb);
    for (const name of ['kept', 'fresh']) await services.remove(name);
    await second.stop();
    expect(await second.command(['cleanup'])).toMatchObject({ code: 0 });
  });
});

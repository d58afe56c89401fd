import { describe, expect, test } from 'vitest';
import type { Host } from '../../lab/network/host.ts';
import { eventually } from './harness/eventually.ts';
import { fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
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

describe.skipIf(!isRoot)(
  'a host that was always alone and ends without cleanup, and another one that is started',
  () => {
    const stage = useStage({ isStarted: false, flags });

    test.each([
      ['is stopped, and then cleaned', 'stop', 'cleanup'],
      ['is killed, and then started again', 'kill', 'start'],
    ] as const)(
      'never answer for one address, if the old host %s: then the new one serves all',
      async (_, end, removal) => {
        const { furiwake, services, lanclient, lab } = stage();
        await furiwake.start();
        await services.create('kept');
        const [ip = ''] = await services.published('kept');
        await untilAnswer(lanclient, urlOf(ip), fromWeb);
        await using traffic = await startTraffic(lanclient, urlOf(ip));
        await traffic.after(120); // the Lease is renewed, and has the note
        await furiwake[end]();

        await using second = makeFuriwake(lab, { host: lab.host('lb2'), flags });
        await second.launch();
        const condition = await services.condition('kept', 'Serving', 'AnsweredElsewhere');
        expect(condition.message).toMatch(/another machine on the LAN .* answers for it, probably host lb1, /);
        const why = [expect.stringContaining('run furiwake cleanup on lb1')];
        await eventually(async () => expect((await second.status()).notReady).toEqual(why)); // it may not be programmed yet
        expect(await services.published('kept')).toEqual([ip]);
        const [old = '', ...others] = await macsOf(lanclient, ip);
        expect(others).toEqual([]);
        await services.create('fresh');
        const [fresh = ''] = await services.published('fresh');
        await untilAnswer(lanclient, urlOf(fresh), fromWeb);
        expect(await macsOf(lanclient, fresh)).not.toContain(old);
        expect(await traffic.after(20)).toMatchObject({ failed: 0, broken: 0 });

        const cleanup = ['cleanup', '--kubeconfig', kubeconfigOf(lab)];
        await (removal === 'cleanup' ? furiwake.command(cleanup) : furiwake.launch());
        await services.condition('kept', 'Serving', 'Serving');
        await untilAnswer(lanclient, urlOf(ip), fromWeb);
        expect(await macsOf(lanclient, ip)).toEqual(await macsOf(lanclient, fresh));
        await eventually(async () => expect((await second.status()).notReady).toEqual([]));
        for (const name of ['kept', 'fresh']) await services.remove(name);
        await second.stop();
        expect(await second.command(['cleanup'])).toMatchObject({ code: 0 });
        if (furiwake.isRunning()) await furiwake.stop();
        expect(await furiwake.command(cleanup)).toMatchObject({ code: 0 });
      },
    );
  },
);

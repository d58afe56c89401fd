import { describe, expect, test } from 'vitest';
import { fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { eventually } from './harness/eventually.ts';
import { isRoot, useStage } from './harness/stage.ts';
import { startTraffic } from './harness/traffic.ts';

/** The address that another client writes. */
const theirs = { loadBalancer: { ingress: [{ ip: '198.51.100.99' }] } };

describe.skipIf(!isRoot)('another client writes the status', () => {
  const stage = useStage();

  test('of a served Service: furiwake restores it and reports it', async () => {
    const { services, lb1 } = stage();
    await services.create('edited');
    await services.condition('edited', 'Serving', 'Serving');
    const { status } = await services.get('edited');
    await services.writeStatus('edited', theirs);
    await eventually(async () => expect((await services.get('edited')).status).toEqual(status));
    expect(await services.event('edited', 'StatusRepaired')).toMatchObject({ type: 'Warning' });

    await services.writeStatus('edited', { conditions: [] });
    await services.condition('edited', 'Serving', 'Serving');
    expect(await services.published('edited')).toEqual([lb1.ip4]);
  });

  test('three times within a minute: furiwake pauses and reports it, traffic continues, and the Service can still be deleted', async () => {
    const { services, client, lb1 } = stage();
    await services.create('fight');
    const truth = await services.published('fight');
    await untilAnswer(client, urlOf(lb1.ip4), fromWeb);
    await using traffic = await startTraffic(client, urlOf(lb1.ip4));
    for (let repair = 1; repair <= 2; repair++) {
      await services.writeStatus('fight', theirs);
      await eventually(async () => expect(await services.published('fight')).toEqual(truth));
    }
    await services.writeStatus('fight', theirs);
    expect(await services.event('fight', 'StatusConflict')).toMatchObject({ type: 'Warning' });
    // After a second of requests still nothing has been written.
    expect(await traffic.after(20)).toMatchObject({ failed: 0, broken: 0 });
    expect((await services.get('fight')).status.loadBalancer).toMatchObject(theirs.loadBalancer);
    await services.remove('fight');
    await eventually(() => expect(traffic.totals()).toMatchObject({ holding: 0 }));
  });

  test('of a Service without a class before furiwake saw it: furiwake does not serve it and reports it, until that client releases it', async () => {
    const { services, furiwake, lb1 } = stage();
    await furiwake.stop();
    await services.create('held');
    await services.writeStatus('held', theirs);
    await furiwake.start();
    expect(await services.event('held', 'HeldByAnother')).toMatchObject({ type: 'Warning' });
    const { metadata, status } = await services.get('held');
    expect(metadata.finalizers).toBeUndefined();
    expect(status).toMatchObject(theirs);
    expect(status.conditions).toBeUndefined();

    await services.writeStatus('held', { loadBalancer: null });
    expect(await services.published('held')).toEqual([lb1.ip4]);
  });

  test('of a Service of the class before furiwake saw it: a foreign address is not adopted', async () => {
    const { services, furiwake, lb1 } = stage();
    await furiwake.stop();
    await services.create('ours', { spec: { loadBalancerClass: 'furiwake.dev/haproxy' } });
    await services.writeStatus('ours', theirs);
    await furiwake.start();
    await eventually(async () => expect(await services.published('ours')).toEqual([lb1.ip4]));
    expect(await furiwake.logged('AddressNotInPool')).toMatchObject({ service: 'lbtest/ours' });
  });
});

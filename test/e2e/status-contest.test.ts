import { describe, expect, test } from 'vitest';
import { fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { eventually } from './harness/eventually.ts';
import { isRoot, useStage } from './harness/stage.ts';
import { startTraffic } from './harness/traffic.ts';

/** What somebody else thinks that the address is. */
const theirs = { loadBalancer: { ingress: [{ ip: '198.51.100.99' }] } };

describe.skipIf(!isRoot)('somebody else writes the status', () => {
  const stage = useStage();

  test('of a Service of ours: the truth is written back, and that is said', async () => {
    const { services, lb1 } = stage();
    await services.create('edited');
    const { status } = await services.published('edited').then(() => services.get('edited'));
    await services.writeStatus('edited', theirs);
    await eventually(async () => expect((await services.get('edited')).status).toEqual(status));
    expect(await services.event('edited', 'StatusRepaired')).toMatchObject({ type: 'Warning' });

    await services.writeStatus('edited', { conditions: [] });
    await services.condition('edited', 'Serving', 'Serving');
    expect(await services.published('edited')).toEqual([lb1.ip4]);
  });

  test('three times within a minute: it is given up and said, traffic goes on, and the Service can still be deleted', async () => {
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
    // A second of requests later nothing has been written all the same.
    expect(await traffic.after(20)).toMatchObject({ failed: 0, broken: 0 });
    expect((await services.get('fight')).status.loadBalancer).toMatchObject(theirs.loadBalancer);
    await services.remove('fight');
    await eventually(() => expect(traffic.totals()).toMatchObject({ holding: 0 }));
  });

  test('of a Service without a class before we saw it: it is left alone and said, until they let go of it', async () => {
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

  test('of a Service of our class before we saw it: an address that is not ours is not taken over', async () => {
    const { services, furiwake, lb1 } = stage();
    await furiwake.stop();
    await services.create('ours', { spec: { loadBalancerClass: 'furiwake.dev/haproxy' } });
    await services.writeStatus('ours', theirs);
    await furiwake.start();
    await eventually(async () => expect(await services.published('ours')).toEqual([lb1.ip4]));
    expect(await furiwake.logged('AddressNotInPool')).toMatchObject({ service: 'lbtest/ours' });
  });
});

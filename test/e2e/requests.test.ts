import { describe, expect, test } from 'vitest';
import { addressesAnnotation } from './harness/contract.ts';
import { webPort } from './harness/backends.ts';
import { eventually } from './harness/eventually.ts';
import { fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { isRoot, useStage } from './harness/stage.ts';

/** The API server, n1 and n2 are in it, 192.0.2.13 and 203.0.113.1 to 203.0.113.3 are free. */
const addresses = '192.0.2.2,192.0.2.11-192.0.2.13,203.0.113.1-203.0.113.3';

describe.skipIf(!isRoot)('a Service that requests an address', () => {
  const stage = useStage({ flags: ['--addresses', addresses] });

  test('gets the one in spec.loadBalancerIP or in the annotation', async () => {
    const { services, client } = stage();
    await services.create('field', { spec: { loadBalancerIP: '203.0.113.2' } });
    await services.create('annotation', { annotations: { [addressesAnnotation]: '203.0.113.3' } });
    await services.create('both', {
      annotations: { [addressesAnnotation]: '203.0.113.1' },
      spec: { loadBalancerIP: '203.0.113.1' },
    });
    expect(await services.published('field')).toEqual(['203.0.113.2']);
    expect(await services.published('annotation')).toEqual(['203.0.113.3']);
    expect(await services.published('both')).toEqual(['203.0.113.1']);
    await untilAnswer(client, urlOf('203.0.113.2'), fromWeb);
  });

  test('moves when it requests another one, and the old address is removed from the host', async () => {
    const { services, client, lb1 } = stage();
    await services.create('moves', { annotations: { [addressesAnnotation]: '203.0.113.1' } });
    await services.published('moves');
    await services.change('moves', { metadata: { annotations: { [addressesAnnotation]: '203.0.113.2' } } });
    await eventually(async () => expect(await services.published('moves')).toEqual(['203.0.113.2']));
    await untilAnswer(client, urlOf('203.0.113.2'), fromWeb);
    const { stdout } = await lb1.exec(['ip', '-oneline', 'address']);
    expect(stdout).toContain('203.0.113.2/32');
    expect(stdout).not.toContain('203.0.113.1/32');
  });

  test('keeps its address when field and annotation disagree, and reports it', async () => {
    const { services } = stage();
    await services.create('disagrees', { spec: { loadBalancerIP: '203.0.113.2' } });
    await services.published('disagrees');
    await services.change('disagrees', { metadata: { annotations: { [addressesAnnotation]: '203.0.113.3' } } });
    const condition = await services.condition('disagrees', 'AddressAssigned', 'ConflictingRequest');
    expect(condition.message).toMatch(/203\.0\.113\.2.*203\.0\.113\.3/);
    expect(await services.published('disagrees')).toEqual(['203.0.113.2']);
  });

  test.each([
    ['outside of --addresses', '198.18.0.1', 'AddressNotInPool'],
    ['of a node', '192.0.2.11', 'AddressInUse'],
    ['of the API server', '192.0.2.2', 'AddressInUse'],
    ['that is none', 'no address', 'InvalidRequest'],
    ['of a family that it does not have', '2001:db8::1', 'InvalidRequest'],
    ['and another one of the same family', '203.0.113.1,203.0.113.2', 'InvalidRequest'],
  ])('for one %s gets none, and reports why', async (_, request, reason) => {
    const { services } = stage();
    await services.create('refused', { annotations: { [addressesAnnotation]: request } });
    expect(await services.condition('refused', 'AddressAssigned', reason)).toMatchObject({ status: 'False' });
    await services.condition('refused', 'Serving', 'NoAddress');
    expect((await services.get('refused')).status.loadBalancer).toEqual({});
  });

  test('that has its port in use by another Service gets it when the other one is deleted', async () => {
    const { services } = stage();
    const annotations = { [addressesAnnotation]: '203.0.113.1' };
    await services.create('holder', { annotations });
    await services.published('holder');
    await services.create('waits', { annotations });
    const condition = await services.condition('waits', 'AddressAssigned', 'PortConflict');
    expect(condition.message).toContain('lbtest/holder');
    await services.remove('holder');
    expect(await services.published('waits')).toEqual(['203.0.113.1']);
  });

  test('without a request gets the lowest free one, otherwise shares one if no port clashes, otherwise reports that there is none', async () => {
    const { services } = stage();
    const free = ['192.0.2.13', '203.0.113.1', '203.0.113.2', '203.0.113.3'];
    for (const [index, ip] of free.entries()) {
      await services.create(`fills-${index}`);
      expect(await services.published(`fills-${index}`)).toEqual([ip]);
    }
    await services.create('shares', { spec: { ports: [{ port: 81, targetPort: webPort }] } });
    expect(await services.published('shares')).toEqual(['192.0.2.13']);
    await services.create('too-many');
    const condition = await services.condition('too-many', 'AddressAssigned', 'PoolExhausted');
    expect(condition.status).toBe('False');
    await services.remove('fills-2');
    expect(await services.published('too-many')).toEqual(['203.0.113.2']);
  });

  test('keeps its address when furiwake has lost its state directory', async () => {
    const { services, furiwake, client } = stage();
    await services.create('keeps', { spec: { loadBalancerIP: '203.0.113.2' } });
    await services.published('keeps');
    await services.change('keeps', { spec: { loadBalancerIP: null } });
    await furiwake.stop();
    expect(await furiwake.command(['cleanup'])).toMatchObject({ code: 0 });
    await furiwake.start();
    await services.create('new');
    expect(await services.published('new')).toEqual(['192.0.2.13']);
    expect(await services.published('keeps')).toEqual(['203.0.113.2']);
    await untilAnswer(client, urlOf('203.0.113.2'), fromWeb);
  });
});

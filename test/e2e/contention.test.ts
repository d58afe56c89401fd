import { describe, expect, test } from 'vitest';
import { webPort } from './harness/backends.ts';
import { fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { eventually } from './harness/eventually.ts';
import { isRoot, useStage } from './harness/stage.ts';

describe.skipIf(!isRoot)('several claims to the ports of one address, the host’s own', () => {
  const stage = useStage({ flags: ['--addresses', '192.0.2.51', '--reserved-ports', '22,9100'] });

  test('Services with different ports share it', async () => {
    const { services, lb1 } = stage();
    await services.create('share-a', { spec: { ports: [{ port: 8081, targetPort: webPort }] } });
    await services.create('share-b', { spec: { ports: [{ port: 8082, targetPort: webPort }] } });
    expect(await services.published('share-a')).toEqual([lb1.ip4]);
    expect(await services.published('share-b')).toEqual([lb1.ip4]);
  });

  test('the condition of a second Service for a port names the first, and it gets the port when the first is deleted', async () => {
    const { services, client, lb1 } = stage();
    await services.create('first');
    await services.published('first');
    await services.create('second');
    const condition = await services.condition('second', 'AddressAssigned', 'PortConflict');
    expect(condition).toMatchObject({ status: 'False', message: expect.stringContaining('lbtest/first') });
    expect(await services.event('second', 'PortConflict')).toMatchObject({ type: 'Warning' });
    expect((await services.get('second')).status.loadBalancer).toEqual({});

    await services.remove('first');
    expect(await services.published('second')).toEqual([lb1.ip4]);
    await services.condition('second', 'AddressAssigned', 'Assigned');
    await untilAnswer(client, urlOf(lb1.ip4), fromWeb);
  });

  test('a port on which the host itself listens is refused until it no longer listens', async () => {
    const { services, client, lb1 } = stage();
    const listener = await lb1.spawn('listener', ['nc', '-lk', '0.0.0.0', '8090']);
    await eventually(() => lb1.exec(['nc', '-z', lb1.ip4, '8090']));
    await services.create('taken', { spec: { ports: [{ port: 8090, targetPort: webPort }] } });
    const condition = await services.condition('taken', 'AddressAssigned', 'PortInUseOnHost');
    expect(condition.message).toContain('8090');
    expect(await services.event('taken', 'PortInUseOnHost')).toMatchObject({ type: 'Warning' });
    expect((await services.get('taken')).status.loadBalancer).toEqual({});

    listener.kill('SIGKILL');
    await listener.ended();
    expect(await services.published('taken')).toEqual([lb1.ip4]);
    await untilAnswer(client, urlOf(lb1.ip4, 8090), fromWeb);
  });

  test.each([22, 9100])('the reserved port %i is refused whether the host listens on it or not', async (port) => {
    const { services } = stage();
    await services.create('reserved', { spec: { ports: [{ port, targetPort: webPort }] } });
    const condition = await services.condition('reserved', 'AddressAssigned', 'PortInUseOnHost');
    expect(condition.message).toContain('--reserved-ports');
  });
});

import { describe, expect, test } from 'vitest';
import { webPort } from './harness/backends.ts';
import { eventually } from './harness/eventually.ts';
import { fromWeb, untilAnswer, urlOf } from './harness/fetch.ts';
import { type Condition, type Services } from './harness/services.ts';
import { isRoot, useStage } from './harness/stage.ts';

async function portsError(services: Services, name: string): Promise<Condition | undefined> {
  const { conditions = [] } = (await services.get(name)).status;
  return conditions.find(({ type }) => type === 'LoadBalancerPortsError');
}

const tcp = { name: 'tcp', port: 80, targetPort: webPort };
const udp = { name: 'udp', port: 53, protocol: 'UDP', targetPort: 8081 };

describe.skipIf(!isRoot)('unsupported fields are reported', () => {
  const stage = useStage();

  test('a port without a nodePort has an error, and the others are served', async () => {
    const { services, client } = stage();
    const ports = [{ ...tcp, nodePort: 30_999 }, udp];
    await services.create('mixed', { spec: { ports, allocateLoadBalancerNodePorts: false } });
    const [ip = ''] = await services.published('mixed');
    await eventually(async () => {
      expect((await services.get('mixed')).status.loadBalancer.ingress?.[0]?.ports).toEqual([
        { port: 80, protocol: 'TCP' },
        { port: 53, protocol: 'UDP', error: 'furiwake.dev/NodePortMissing' },
      ]);
      expect(await portsError(services, 'mixed')).toMatchObject({ status: 'True', reason: 'NodePortMissing' });
    });
    const { message } = await services.condition('mixed', 'Serving', 'PartlyServing');
    expect(message).toContain('UDP port 53');
    await untilAnswer(client, urlOf(ip), fromWeb);
  });

  test('a Service without nodePorts gets no address until it has them', async () => {
    const { services, client } = stage();
    await services.create('bare', { spec: { allocateLoadBalancerNodePorts: false } });
    expect(await services.condition('bare', 'AddressAssigned', 'NodePortMissing')).toMatchObject({ status: 'False' });
    expect((await services.get('bare')).status.loadBalancer).toEqual({});
    await services.change('bare', { spec: { allocateLoadBalancerNodePorts: true } });
    const [ip = ''] = await services.published('bare');
    await untilAnswer(client, urlOf(ip), fromWeb);
  });

  test('a Service with session affinity is served without it, and the condition says so', async () => {
    const { services, client } = stage();
    await services.create('sticky', { spec: { sessionAffinity: 'ClientIP' } });
    const [ip = ''] = await services.published('sticky');
    const condition = await services.condition('sticky', 'Serving', 'FieldsNotHonoured');
    expect(condition).toMatchObject({ status: 'True', message: expect.stringContaining('sessionAffinity') });
    await untilAnswer(client, urlOf(ip), fromWeb);
    await services.change('sticky', { spec: { sessionAffinity: 'None' } });
    await services.condition('sticky', 'Serving', 'Serving');
  });
});

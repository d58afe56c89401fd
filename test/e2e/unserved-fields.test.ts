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
const sctp = { name: 'sctp', port: 99, protocol: 'SCTP' };

describe.skipIf(!isRoot)('unsupported fields are reported', () => {
  const stage = useStage();

  test('a Service of TCP, UDP and SCTP is served over TCP, and every other port has an error', async () => {
    const { services, client } = stage();
    await services.create('mixed', { spec: { ports: [tcp, udp, sctp] } });
    const [ip = ''] = await services.published('mixed');
    const error = 'furiwake.dev/UnsupportedProtocol';
    await eventually(async () => {
      expect((await services.get('mixed')).status.loadBalancer.ingress?.[0]?.ports).toEqual([
        { port: 80, protocol: 'TCP' },
        { port: 53, protocol: 'UDP', error },
        { port: 99, protocol: 'SCTP', error },
      ]);
      expect(await portsError(services, 'mixed')).toMatchObject({
        status: 'True',
        reason: 'LoadBalancerMixedProtocolNotSupported',
      });
    });
    const { message } = await services.condition('mixed', 'Serving', 'PartlyServing');
    expect(message).toMatch(/UDP port 53.*SCTP port 99/);
    await untilAnswer(client, urlOf(ip), fromWeb);
  });

  test('a Service of only UDP gets no address, and reports why', async () => {
    const { services } = stage();
    await services.create('udp', { spec: { ports: [udp] } });
    const condition = await services.condition('udp', 'AddressAssigned', 'UnsupportedProtocol');
    expect(condition).toMatchObject({ status: 'False', message: expect.stringContaining('UDP port 53') });
    expect(await services.condition('udp', 'Serving', 'UnsupportedProtocol')).toMatchObject({ status: 'False' });
    expect((await services.get('udp')).status.loadBalancer).toEqual({});
    expect(await services.event('udp', 'UnsupportedProtocol')).toMatchObject({ type: 'Warning' });
    await services.change('udp', { spec: { ports: [tcp] } });
    await services.published('udp');
    expect(await portsError(services, 'udp')).toBeUndefined();
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

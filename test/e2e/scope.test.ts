import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nobody } from './harness/backends.ts';
import { isRoot, useStage } from './harness/stage.ts';

const loadBalancerClass = 'example.com/edge';
const flags = ['--load-balancer-class', loadBalancerClass, '--default-class', 'no', '--namespaces', 'lbtest,another'];

describe.skipIf(!isRoot)('a furiwake for one class in some namespaces', () => {
  const stage = useStage({ flags });
  const elsewhere = '/api/v1/namespaces/elsewhere';

  beforeAll(async () => {
    const { cluster } = stage();
    await cluster.create('/api/v1/namespaces', { metadata: { name: 'elsewhere' } });
  });
  afterAll(async () => stage().cluster.remove(elsewhere));

  test('serves these Services and no others, and holds its own Lease', async () => {
    const { services, cluster } = stage();
    const spec = { type: 'LoadBalancer', selector: nobody, ports: [{ port: 82 }], loadBalancerClass };
    await cluster.create(`${elsewhere}/services`, { metadata: { name: 'other-namespace' }, spec });
    await services.create('no-class', { spec: { ports: [{ port: 81 }] } });
    await services.create('default-class', {
      spec: { ports: [{ port: 83 }], loadBalancerClass: 'furiwake.dev/haproxy' },
    });
    await services.create('ours', { spec: { loadBalancerClass } });
    await services.published('ours'); // created after the others, so those have been processed
    const others = [
      await services.get('no-class'),
      await services.get('default-class'),
      await cluster.get<object>(`${elsewhere}/services/other-namespace`),
    ];
    for (const other of others) {
      expect(other).not.toHaveProperty('metadata.finalizers');
      expect(other).toHaveProperty('status', { loadBalancer: {} });
    }
    const leases = '/apis/coordination.k8s.io/v1/namespaces/furiwake-system/leases';
    expect(await cluster.get(`${leases}/furiwake-example.com-edge-658edf34`)).toMatchObject({
      spec: { holderIdentity: expect.stringMatching(/^lb1_/) },
    });
  });
});

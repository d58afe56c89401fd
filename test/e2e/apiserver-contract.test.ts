import { afterAll, beforeAll, describe } from 'vitest';
import { type Lab, openLab } from '../../lab/lab.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { resourcePath } from '../../src/kube/paths.ts';
import { apiServerContract } from '../contract/api-server.ts';
import { eventually } from './harness/eventually.ts';
import { type LabClients, startLabClients } from './harness/admin-client.ts';
import { labName, namespace } from './harness/names.ts';
import { isRoot } from './harness/stage.ts';

/** The contract that the simulated API server passes in the unit tests (`test/sim`). */
describe.skipIf(!isRoot)('Kubernetes', () => {
  const { signal } = new AbortController();
  const namespaces = { apiVersion: 'v1', plural: 'namespaces' };
  let lab: Lab;
  let clients: LabClients;
  let client: KubeClient;
  let withoutRights: KubeClient;

  beforeAll(async () => {
    lab = await openLab(labName, signal);
    clients = await startLabClients(lab);
    client = await clients.clientOf(lab.kubeconfig());
    withoutRights = await clients.clientOf(await lab.serviceAccountKubeconfig(namespace, 'default'));
  });
  afterAll(async () => {
    await Promise.all([client, withoutRights].map((each) => each.close()));
    await clients[Symbol.asyncDispose]();
  });

  apiServerContract('the real one', async () => {
    const body = { metadata: { generateName: 'contract-' } };
    const made = await client.create<{ metadata: { name: string } }>(resourcePath(namespaces), body, { signal });
    const { name } = made.metadata;
    const services = resourcePath({ apiVersion: 'v1', plural: 'services' }, { namespace: name });
    return {
      client,
      withoutRights,
      namespace: name,
      forgottenVersion: async () => {
        const { metadata } = await client.list(services, { signal });
        await client.create(services, { metadata: { name: 'a' }, spec: { ports: [{ port: 80 }] } }, { signal });
        await client.delete(`${services}/a`, { signal });
        await lab.stopPart('apiserver', { graceMs: 0 });
        clients.disconnect();
        await lab.startPart('apiserver');
        await eventually(() => client.list(services, { signal }));
        return metadata.resourceVersion ?? '';
      },
      // A test deletes it itself.
      [Symbol.asyncDispose]: () => client.delete(resourcePath(namespaces, { name }), { signal }).catch(() => undefined),
    };
  });
});

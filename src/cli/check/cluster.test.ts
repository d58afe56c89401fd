import { expect, test } from 'vitest';
import { type Asked, clientOf, refuse } from '../../../test/make/client.ts';
import { makeMachine, makeOptions } from '../../../test/make/machine.ts';
import { askCluster } from './cluster.ts';
import type { Finding } from './finding.ts';

const servedElsewhere = {
  metadata: {
    namespace: 'ns',
    name: 'taken',
    managedFields: [
      {
        manager: 'metallb',
        subresource: 'status',
        operation: 'Update',
        fieldsV1: { 'f:status': { 'f:loadBalancer': { 'f:ingress': {} } } },
      },
    ],
  },
  spec: { type: 'LoadBalancer', ports: [{ port: 80, nodePort: 30_080, protocol: 'TCP' }] },
  status: { loadBalancer: { ingress: [{ ip: '198.51.100.1' }] } },
};

/** What an API server answers; its one node has no address, so nobody is probed. */
function answerOf({ path }: Asked): unknown {
  const last = path.split('/').at(-1) ?? '';
  const items: Readonly<Record<string, readonly object[]>> = {
    servicecidrs: [{ spec: { cidrs: ['10.96.0.0/16'] } }],
    nodes: [{ metadata: { name: 'n1' }, spec: { podCIDRs: ['10.244.0.0/24'] } }],
    services: [],
  };
  if (last === 'version') return { major: '1', minor: '37', gitVersion: 'v1.37.2' };
  if (last === 'selfsubjectaccessreviews') return { status: { allowed: true } };
  if (last === 'apis') return { groups: [{ name: 'apps' }] };
  if (last === 'leases') return {};
  return { metadata: {}, items: items[last] ?? [] };
}

async function find(
  answer: (asked: Asked) => unknown,
  flags: Parameters<typeof makeOptions>[0] = {},
): Promise<readonly Finding[]> {
  const client = clientOf((asked) => answer(asked) ?? answerOf(asked));
  const options = makeOptions({ addresses: '192.0.2.0/28', ...flags });
  return askCluster(client, 'https://api', options, makeMachine(), new AbortController().signal);
}

const at = (path: string, answer: (asked: Asked) => unknown) => (asked: Asked) =>
  asked.path.endsWith(path) ? answer(asked) : undefined;

test('a cluster where all is well has nothing wrong but that its node has no address', async () => {
  const findings = await find(() => undefined);
  expect(findings.filter(({ mark }) => mark !== 'ok').map(({ what }) => what)).toEqual(['nodes']);
});

test.each<[string, (asked: Asked) => unknown, string, object]>([
  [
    'an old Kubernetes',
    at('/version', () => ({ major: '1', minor: '31', gitVersion: 'v1.31.4' })),
    'API server',
    { mark: 'wrong', found: 'https://api, Kubernetes v1.31.4', advice: 'furiwake needs 1.32 or newer' },
  ],
  [
    'a namespace that is not there',
    at('/leases', (asked) => refuse('NOT_FOUND', asked)),
    'Lease',
    { mark: 'wrong', found: 'namespace furiwake-system does not exist' },
  ],
  [
    'a Service CIDR that is not shown',
    at('/servicecidrs', (asked) => refuse('NOT_FOUND', asked)),
    'addresses',
    { mark: 'warning', found: expect.stringMatching(/does not show its Service CIDR/) },
  ],
  [
    'an answer that does not come',
    at('/servicecidrs', (asked) => refuse('SERVER', asked)),
    'addresses',
    { mark: 'wrong', found: expect.stringMatching(/could not be looked at: list .*SERVER/) },
  ],
  [
    'a list of API groups that does not come',
    at('/apis', (asked) => refuse('SERVER', asked)),
    'other implementations',
    { mark: 'wrong', found: expect.stringMatching(/could not be looked at: get \/apis/) },
  ],
  [
    'another implementation',
    at('/apis', () => ({ groups: [{ name: 'metallb.io' }] })),
    'other implementation',
    { mark: 'warning', found: 'MetalLB: the API has its group metallb.io' },
  ],
  [
    'k3s',
    at('/nodes', () => ({
      metadata: {},
      items: [{ metadata: { name: 's1' }, status: { nodeInfo: { kubeletVersion: 'v1.34.1+k3s1' } } }],
    })),
    'other implementation',
    { mark: 'warning', found: expect.stringMatching(/^k3s on node s1/) },
  ],
  [
    'a Service that another one holds',
    at('/services', () => ({ metadata: {}, items: [servedElsewhere] })),
    'held Service',
    { mark: 'warning', found: 'ns/taken has an address from metallb' },
  ],
])('%s is found', async (_, answer, what, finding) => {
  expect((await find(answer)).filter((each) => each.what === what)).toMatchObject([finding]);
});

test('addresses that are the cluster’s are wrong', async () => {
  const findings = await find(() => undefined, { addresses: '10.96.0.0/28' });
  expect(findings).toContainEqual(
    expect.objectContaining({ mark: 'wrong', what: 'addresses', found: expect.stringMatching(/Service CIDR/) }),
  );
});

test('without the rights to read nothing more is asked', async () => {
  const findings = await find(at('/selfsubjectaccessreviews', () => ({ status: { allowed: false } })));
  expect(new Set(findings.map(({ what }) => what))).toEqual(new Set(['API server', 'right']));
  expect(findings.find(({ what }) => what === 'right')).toMatchObject({
    mark: 'wrong',
    found: 'missing: list services',
  });
});

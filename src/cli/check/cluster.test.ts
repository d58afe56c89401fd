import { expect, test } from 'vitest';
import { type CheckScene, findIn, runCheck, servedService } from '../../../test/make/check-scene.ts';
import { type Asked, refuse } from '../../../test/make/client.ts';
import { failure } from '../../kube/answers.ts';
import { KubeConfigError, type KubeErrorCode } from '../../kube/errors.ts';

const at = (path: string, answer: (asked: Asked) => unknown): CheckScene => ({
  answer: (asked) => (asked.path.endsWith(path) ? answer(asked) : undefined),
});

const exclusion = { 'node.kubernetes.io/exclude-from-external-load-balancers': '' };

function nodeOf(name: string, address: string, labels: object = {}): object {
  return { metadata: { name, labels }, status: { addresses: [{ type: 'InternalIP', address }] } };
}

test.each<[string, CheckScene, string, object]>([
  [
    'a kubeconfig that cannot be used',
    { connect: () => Promise.reject(new KubeConfigError('/k is not valid YAML (line 2); correct it')) },
    'kubeconfig',
    { mark: 'problem', found: '/k is not valid YAML (line 2); correct it' },
  ],
  [
    'an old Kubernetes',
    at('/version', () => ({ major: '1', minor: '31', gitVersion: 'v1.31.4' })),
    'API server',
    { mark: 'problem', found: 'https://192.0.2.2:6443, Kubernetes v1.31.4', advice: /1\.32 or newer/ },
  ],
  [
    'a namespace that does not exist',
    at('/leases', (asked) => refuse('NOT_FOUND', asked)),
    'Lease',
    { mark: 'problem', found: 'namespace furiwake-system does not exist' },
  ],
  [
    'a missing permission',
    at('/selfsubjectaccessreviews', ({ body }) => ({ status: { allowed: !JSON.stringify(body).includes('events') } })),
    'permissions',
    {
      mark: 'problem',
      found: '2 of 14 are missing: create events.events.k8s.io, patch events.events.k8s.io',
      advice: /kubectl apply/,
    },
  ],
  [
    'a Lease in a namespace without permissions',
    at('/selfsubjectaccessreviews', ({ body }) => ({ status: { allowed: !JSON.stringify(body).includes('leases') } })),
    'permissions',
    { mark: 'problem', found: /^3 of 14 are missing/, advice: /check --lease-namespace/ },
  ],
  [
    'a Service CIDR that is not shown',
    at('/servicecidrs', (asked) => refuse('NOT_FOUND', asked)),
    'cluster CIDRs',
    { mark: 'warning', found: /does not show its Service CIDR/ },
  ],
  [
    'an answer that does not come',
    at('/servicecidrs', (asked) => refuse('SERVER', asked)),
    'cluster CIDRs',
    { mark: 'problem', found: /^list .*SERVER/, advice: /log of the API server/ },
  ],
  [
    'a list of API groups that does not come',
    at('/apis', (asked) => refuse('THROTTLED', asked)),
    'load balancers',
    { mark: 'problem', found: /^get \/apis/, advice: /overloaded/ },
  ],
  [
    'another implementation',
    at('/apis', () => ({ groups: [{ name: 'metallb.io' }] })),
    'load balancers',
    { mark: 'warning', found: 'MetalLB: the API has its group metallb.io' },
  ],
  [
    'k3s',
    { objects: { nodes: [{ metadata: { name: 's1' }, status: { nodeInfo: { kubeletVersion: 'v1.34.1+k3s1' } } }] } },
    'load balancers',
    { mark: 'warning', found: /^k3s on node s1/ },
  ],
  ['a cluster without nodes', { objects: { nodes: [] } }, 'nodes', { mark: 'warning', found: 'none with an address' }],
  [
    'a node that is silent',
    { probe: (address) => (address === '192.0.2.12' ? 'silent' : 'ok') },
    'nodes',
    { mark: 'warning', found: '1 of 2 node addresses healthy on port 10256; no answer from 192.0.2.12' },
  ],
  [
    'an excluded node, which is not asked,',
    {
      objects: { nodes: [nodeOf('n1', '192.0.2.11'), nodeOf('n2', '192.0.2.12', exclusion)] },
      probe: (address) => (address === '192.0.2.12' ? 'silent' : 'ok'),
    },
    'nodes',
    { mark: 'ok', found: /^1 of 1 node address healthy on port 10256; excluded: n2$/ },
  ],
  [
    'a cluster in which all nodes are excluded',
    { objects: { nodes: [nodeOf('n1', '192.0.2.11', exclusion)] } },
    'nodes',
    { mark: 'warning', found: /^all are excluded: n1$/ },
  ],
  [
    'nodes that all refuse',
    { probe: () => 'alive' },
    'nodes',
    { mark: 'warning', found: /^0 of 2 .*; refused by 192\.0\.2\.11, 192\.0\.2\.12$/, advice: /k3s/ },
  ],
  [
    'a Service that another implementation holds',
    { objects: { services: [servedService('taken', '198.51.100.1', 'metallb')] } },
    'held Services',
    { mark: 'warning', found: /addresses to default\/taken \(metallb\);/, advice: /furiwake\.dev\/addresses/ },
  ],
  [
    'a Service of another class',
    { objects: { services: [{ metadata: {}, spec: { type: 'LoadBalancer', loadBalancerClass: 'example.com/x' } }] } },
    'Services',
    { mark: 'ok', found: /0 for furiwake .*, 1 of another class or namespace$/ },
  ],
])('%s is found', async (_, scene, what, { mark, ...texts }: { mark?: string; found?: unknown; advice?: unknown }) => {
  const [finding, ...more] = (await findIn(scene)).filter((each) => each.what === what);
  expect(more).toEqual([]);
  expect(finding?.mark).toBe(mark);
  for (const [name, text] of Object.entries(texts))
    expect(finding?.[name as 'found' | 'advice']).toMatch(text instanceof RegExp ? text : String(text));
});

test('ten thousand held Services are one line', async () => {
  const services = Array.from({ length: 10_000 }, (_, index) => servedService(`s${index}`, '198.51.100.1', 'metallb'));
  const held = (await findIn({ objects: { services } })).filter(({ what }) => what === 'held Services');
  expect(held).toMatchObject([{ found: expect.stringContaining('default/s4 (metallb), and 9995 more;') }]);
});

test('without the permission to list, nodes and Services are not asked for, and the report says so', async () => {
  const asked: string[] = [];
  const { text } = await runCheck({
    answer: ({ path }) => {
      asked.push(path);
      return path.endsWith('reviews') ? { status: { allowed: false } } : undefined;
    },
  });
  expect(asked.filter((path) => /nodes|services$/.test(path))).toEqual([]);
  for (const what of ['nodes', 'Services', 'load balancers', 'direct', 'cluster CIDRs'])
    expect(text).toContain(`\n  - ${what.padEnd(19)}  not checked: needs the permissions to list\n`);
});

test('each trouble with the API server has an advice of its own', async () => {
  const codes: readonly KubeErrorCode[] = [
    'CREDENTIALS',
    'UNAUTHORIZED',
    'FORBIDDEN',
    'NOT_FOUND',
    'SERVER',
    'PROTOCOL',
  ];
  const causes =
    'ENOTFOUND ECONNREFUSED EHOSTUNREACH ECONNRESET EPROTO ESOMETHING ETIMEDOUT UND_ERR_HEADERS_TIMEOUT ' +
    'SELF_SIGNED_CERT_IN_CHAIN CERT_HAS_EXPIRED CERT_NOT_YET_VALID';
  const answers = [
    ...codes.map((code) => (asked: Asked) => refuse(code, asked)),
    ...causes.split(' ').map((code) => (asked: Asked) => {
      throw failure(Object.assign(new Error('library words'), { code }), asked);
    }),
  ];
  const advices = new Set<string | undefined>();
  for (const answer of answers) {
    const findings = await findIn({ answer });
    const troubles = findings.filter(({ group, mark }) => group === 'API server' && mark === 'problem');
    expect(troubles).toMatchObject([{ what: 'API server', found: expect.not.stringContaining('library') }]);
    advices.add(troubles[0]?.advice);
  }
  expect(advices).not.toContain(undefined);
  expect(advices.size).toBe(answers.length);
});

test('a weak point of the connection is a warning beside the kubeconfig', async () => {
  const warnings = [
    { found: 'insecure-skip-tls-verify is set', advice: 'set certificate-authority-data in its place' },
  ];
  const findings = (await findIn({ warnings })).filter(({ what }) => what === 'kubeconfig');
  expect(findings.map(({ group, mark }) => [group, mark])).toEqual([
    ['API server', 'ok'],
    ['API server', 'warning'],
  ]);
  expect(findings[1]).toMatchObject(warnings[0]!);
});

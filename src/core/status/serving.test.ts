import { describe, expect, test } from 'vitest';
import { makeNode, makeService, tcp, udp } from '../../../test/make/service.ts';
import { conditions, statusOf } from '../../../test/make/status.ts';
import { addressesOf, nodeName } from '../../../test/make/table.ts';
import type { Annotation, ServiceSpec } from '../model/service.ts';
import type { ListenerKey } from '../model/names.ts';
import { PersistentMap } from '../persistent-map.ts';
import { listenerKey, localBackend } from '../traffic/table.ts';
import type { DesiredStatus } from './desired.ts';

describe('the condition Serving', () => {
  test('says that there is no node, and the address is published', () => {
    const status = statusOf([makeService('a')], { nodes: [] });
    expect(status?.ingress).toHaveLength(1);
    expect(conditions(status)).toMatchObject({ Serving: 'False NoNodes' });
  });

  test('names why no node takes connections', () => {
    const labelled = { ...makeNode('n1', '192.0.2.11'), excluded: 'label' as const };
    const serving = (nodes: readonly ReturnType<typeof makeNode>[]): string | undefined =>
      statusOf([makeService('a')], { nodes })?.conditions.find(({ reason }) => reason === 'NoNodes')?.message;
    expect(serving([labelled])).toContain('node.kubernetes.io/exclude-from-external-load-balancers');
    expect(serving([])).toContain('the cluster has no nodes');
    expect(serving([makeNode('n1', '2001:db8::11')])).toContain('no node has an IPv4 address');
  });

  test('serves partly where one of two families has no node', () => {
    const status = statusOf([makeService('a', { ipFamilies: [4, 6] })], { nodes: [makeNode('n1', '192.0.2.11')] });
    expect(conditions(status)).toMatchObject({ Serving: 'True PartlyServing' });
    expect(status?.ingress).toHaveLength(2);
  });

  test('says that it has no ready endpoint', () => {
    expect(conditions(statusOf([makeService('a')], { hasEndpoints: false }))).toMatchObject({
      Serving: 'False NoEndpoints',
    });
  });

  test('names ports, and a family, without ready endpoints beside others', () => {
    const ports = [tcp(80), tcp(81)];
    const of = (ip: string, ...found: readonly number[]): readonly ListenerKey[] =>
      [...addressesOf(ip).values()].flatMap((address) => found.map((port) => listenerKey(address, port, 'TCP')));
    const message = (gaps: readonly ListenerKey[]): string | undefined =>
      statusOf([makeService('a', { ports, ipFamilies: [4, 6] })], { gaps })?.conditions.find(
        ({ reason }) => reason === 'PartlyServing',
      )?.message;
    expect(message(of('192.0.2.8', 81))).toBe('port 81 of 192.0.2.8 has no ready endpoints');
    expect(message(of('2001:db8::8', 80, 81))).toBe('2001:db8::8 has no ready endpoints');
    expect(message([...of('192.0.2.8', 81), ...of('2001:db8::8', 81)])).toBe(
      'port 81 of 192.0.2.8 and 2001:db8::8 has no ready endpoints',
    );
    expect(message([])).toBeUndefined();
  });

  test.each<
    [what: string, spec: Partial<ServiceSpec>, nodes: readonly ReturnType<typeof makeNode>[], serving?: string]
  >([
    ['nothing about serving', {}, [makeNode('n1', '192.0.2.11')]],
    ['nothing about ignored fields', { sessionAffinity: 'ClientIP' }, [makeNode('n1', '192.0.2.11')]],
    ['that no node takes connections', {}, [], 'False NoNodes'],
    [
      'that it is closed to all clients',
      { sourceRanges: ['2001:db8::/32'] },
      [makeNode('n1', '192.0.2.11')],
      'False InvalidSourceRanges',
    ],
  ])('says %s while its endpoints are not known, and has its address', (_, spec, nodes, serving) => {
    const status = statusOf([makeService('a', spec)], { hasEndpoints: 'not known', nodes });
    expect(conditions(status)).toEqual({
      AddressAssigned: 'True Assigned',
      ...(serving === undefined ? {} : { Serving: serving }),
    });
    expect(status?.ingress).toHaveLength(1);
  });

  test('says that source ranges leave a family closed', () => {
    const status = (sourceRanges: readonly string[]): DesiredStatus | undefined =>
      statusOf([makeService('a', { ipFamilies: [4, 6], sourceRanges })]);
    expect(conditions(status(['192.0.2.0/24']))).toMatchObject({ Serving: 'True InvalidSourceRanges' });
    expect(status(['192.0.2.0/24'])?.conditions[1]?.message).toContain('closed to all IPv6 clients');
    const four = statusOf([makeService('a', { sourceRanges: ['2001:db8::/32'] })]);
    expect(conditions(four)).toMatchObject({ Serving: 'False InvalidSourceRanges' });
  });

  const proxied = (text: string) => [['furiwake.dev/proxy-protocol', text]] as const;
  const byDirect = 'furiwake.dev/dataplane: direct keeps a client at its Pod';
  const ignored = (remedy: string) => `ignored: sessionAffinity=ClientIP (one Pod per node; ${remedy})`;
  const hidden =
    'externalTrafficPolicy=Local: Pods do not see the address of the client (with the annotation furiwake.dev/dataplane: direct they do)';

  test.each([
    [{ sessionAffinity: 'ClientIP' }, ignored(byDirect)],
    [
      { sessionAffinity: 'ClientIP', options: proxied('v2') },
      ignored('furiwake.dev/backends: pods keeps a client at its Pod'),
    ],
    [{ externalTrafficPolicy: 'Local' as const }, hidden],
    [{ ignoredAnnotations: ['example.com/ips'] }, 'ignored: annotation example.com/ips (one address per family)'],
    [{ sessionAffinity: 'ClientIP', externalTrafficPolicy: 'Local' as const }, `${ignored(byDirect)}; ${hidden}`],
  ])('says that %j is not followed yet', (spec, words) => {
    const status = statusOf([makeService('a', spec)]);
    expect(conditions(status)).toMatchObject({ Serving: 'True FieldsNotHonoured' });
    expect(status?.conditions.find((each) => each.reason === 'FieldsNotHonoured')?.message).toBe(
      `serving, but ${words}`,
    );
  });

  test('says how far affinity and Local are followed, by the dataplane', () => {
    const spec = { sessionAffinity: 'ClientIP', externalTrafficPolicy: 'Local' };
    const direct = makeService('a', { ...spec, ports: [tcp(53), udp(53)], dataplane: 'direct' });
    const haproxy = makeService('a', { ...spec, dataplane: 'haproxy' });
    const both = makeService('a', { ...spec, ports: [tcp(53), udp(53)] });
    const nat = makeService('a', { ...spec, ports: [udp(53)] });
    expect(conditions(statusOf([direct]))).toMatchObject({ Serving: 'True Serving' });
    const byNode = `sessionAffinity=ClientIP: a client keeps its node, where all clients of this host get one Pod; ${byDirect}`;
    for (const [service, words] of [
      [haproxy, ignored(byDirect)],
      [both, ignored(byDirect)],
      [nat, byNode],
    ] as const) {
      const status = statusOf([service]);
      expect(conditions(status)).toMatchObject({ Serving: 'True FieldsNotHonoured' });
      const message = status?.conditions.find(({ type }) => type === 'furiwake.dev/Serving')?.message;
      expect(message).toBe(`serving, but ${words}; ${hidden}`);
    }
  });

  test.each([
    [
      false,
      'no connections to nodes with endpoints that kube-proxy does not confirm on healthCheckNodePort 32000: n2, n3',
    ],
    [
      true,
      'EndpointSlices alone decide which nodes get connections: kube-proxy confirms none on healthCheckNodePort 32000 (n2, n3)',
    ],
  ])('names the nodes that kube-proxy does not confirm (all of them: %s)', (areUsed, words) => {
    const local = { externalTrafficPolicy: 'Local', healthCheckNodePort: 32_000, ipFamilies: [4, 6] } as const;
    const service = makeService('a', { ...local, dataplane: 'direct' });
    const nodes = ['n2', 'n3'].map(nodeName);
    const unconfirmed = PersistentMap.from(
      ([4, 6] as const).map((family) => [localBackend(family, service.key), { nodes, areUsed }]),
    );
    const status = statusOf([service], { unconfirmed });
    expect(conditions(status)).toMatchObject({ Serving: 'True NotConfirmed' });
    expect(status?.conditions.find(({ type }) => type === 'furiwake.dev/Serving')?.message).toBe(words);
  });

  const invalid = 'ignored: annotation furiwake.dev/dataplane="Direct" (valid: haproxy, direct, nat)';
  const unserved =
    'UDP port 53 has no nodePort (spec.allocateLoadBalancerNodePorts is false): without one it is served only with the annotation furiwake.dev/dataplane: direct';

  test.each([
    ['True FieldsNotHonoured', [tcp(53)], `serving, but ${invalid}`],
    ['True PartlyServing', [tcp(53), udp(53, 0)], `${unserved}; ${invalid}`],
  ])('names the dataplane that is not valid, and those that are: %s', (serving, ports, message) => {
    const status = statusOf([makeService('a', { ports, options: proxied('v2'), dataplane: 'Direct' })]);
    expect(conditions(status)).toMatchObject({ Serving: serving });
    expect(status?.conditions.find(({ type }) => type === 'furiwake.dev/Serving')?.message).toBe(message);
  });

  const limited = [['furiwake.dev/connection-rate', '5']] as const;

  test.each<[what: string, spec: Partial<ServiceSpec>, serving: string, message: string]>([
    ['nothing about one that is valid', { options: proxied('v2') }, 'True Serving', 'all ports are served'],
    [
      'one that is not valid',
      { options: [['furiwake.dev/balance', 'best'], ...proxied('v2')] },
      'True FieldsNotHonoured',
      'serving, but ignored: annotation furiwake.dev/balance="best" (valid: roundrobin, leastconn, source)',
    ],
    [
      'one without effect',
      { options: limited, dataplane: 'nat' },
      'True FieldsNotHonoured',
      'serving, but ignored: annotation furiwake.dev/connection-rate (only with HAProxy, for TCP)',
    ],
    [
      'one without effect on UDP',
      { options: limited, ports: [udp(53)] },
      'True FieldsNotHonoured',
      'serving, but ignored: annotation furiwake.dev/connection-rate (only with HAProxy, for TCP)',
    ],
    [
      'nothing about the address of the client, which the PROXY protocol keeps',
      { options: proxied('v2'), externalTrafficPolicy: 'Local' },
      'True Serving',
      'all ports are served',
    ],
    [
      'a port that needs HAProxy and may not have it',
      { options: proxied('80=v2'), dataplane: 'nat' },
      'False HaproxyRequired',
      'TCP port 80 asks for the PROXY protocol, which nat does not have: remove that annotation or furiwake.dev/dataplane',
    ],
  ])('names, of the annotations for HAProxy, %s', (_, spec, serving, message) => {
    const status = statusOf([makeService('a', spec)]);
    expect(conditions(status)).toMatchObject({ Serving: serving });
    expect(status?.conditions.find(({ type }) => type.endsWith('/Serving'))?.message).toBe(message);
  });

  test.each<[string, Annotation[]]>([
    ['', []],
    [' in HTTP mode, which the port has', [['furiwake.dev/http-mode', 'all']]],
  ])('names the profile that is most like the one that is too many%s', (_, more) => {
    const one = makeService('a', { options: [['furiwake.dev/idle-timeout', '9s'], ...more] });
    const status = statusOf([one], { overProfiles: new Map([[one.key, 'idle-timeout=8000ms']]) });
    expect(conditions(status)).toMatchObject({ Serving: 'True TooManyProfiles' });
    expect(status?.conditions.find(({ type }) => type.endsWith('/Serving'))?.message).toBe(
      'served with the usual settings and without idle-timeout=9000ms: HAProxy has 64 profiles, the most that it can have; the one most like it is idle-timeout=8000ms',
    );
  });

  test('quotes the dataplane that is not valid on one line', () => {
    const status = statusOf([makeService('a', { dataplane: 'x\n'.repeat(100) })]);
    expect(status?.conditions.find(({ reason }) => reason === 'FieldsNotHonoured')?.message).toMatch(
      /^serving, but ignored: annotation furiwake\.dev\/dataplane="(?:x\\n){32}…" \(valid: haproxy, direct, nat\)$/,
    );
  });

  test('says which source range is not a CIDR', () => {
    const status = statusOf([makeService('a', { sourceRanges: ['192.0.2.0/24', 'all\nof them'] })]);
    expect(status?.conditions.find((each) => each.reason === 'InvalidSourceRanges')?.message).toContain(
      String.raw`"all\nof them"`,
    );
  });

  const ipv4Only = [makeNode('n1', '192.0.2.11')];
  const dual = { ipFamilies: [4, 6] as const };
  test.each<
    [
      what: string,
      spec: Partial<ServiceSpec>,
      nodes: readonly ReturnType<typeof makeNode>[],
      serving: string,
      words: readonly string[],
    ]
  >([
    [
      'a family without nodes before an ignored field',
      { ...dual, sessionAffinity: 'ClientIP' },
      ipv4Only,
      'True PartlyServing',
      ['no node takes connections for 2001:db8::8', 'sessionAffinity'],
    ],
    [
      'a port that is not served before an invalid range',
      { ports: [tcp(53), udp(53, 0)], sessionAffinity: 'ClientIP', sourceRanges: ['x', '192.0.2.0/24'] },
      ipv4Only,
      'True PartlyServing',
      ['UDP port 53', 'invalid CIDR', 'sessionAffinity'],
    ],
    [
      'ranges that close the Service before a port that is not served',
      { ports: [tcp(53), udp(53, 0)], sessionAffinity: 'ClientIP', sourceRanges: ['x'] },
      ipv4Only,
      'False InvalidSourceRanges',
      ['invalid CIDR', 'closed to all IPv4 clients', 'UDP port 53', 'sessionAffinity'],
    ],
    [
      'no nodes before all else',
      { ports: [tcp(53), udp(53, 0)], sessionAffinity: 'ClientIP', sourceRanges: ['x'] },
      [],
      'False NoNodes',
      ['no node takes connections for 192.0.2.8', 'UDP port 53', 'invalid CIDR', 'sessionAffinity'],
    ],
    [
      'ranges that close the one family, while the other has no nodes',
      { ...dual, sourceRanges: ['2001:db8::/32'] },
      ipv4Only,
      'False InvalidSourceRanges',
      ['closed to all IPv4 clients', 'no node takes connections for 2001:db8::8'],
    ],
  ])('says everything that falls short: %s', (_, spec, nodes, expected, words) => {
    const status = statusOf([makeService('a', { dataplane: 'haproxy', ...spec })], { nodes });
    expect(conditions(status)).toMatchObject({ Serving: expected });
    const message = status?.conditions.find(({ type }) => type === 'furiwake.dev/Serving')?.message ?? '';
    const inOrder = words.toSorted((one, other) => message.indexOf(one) - message.indexOf(other));
    for (const word of words) expect(message).toContain(word);
    expect(inOrder).toEqual(words);
  });
});

test('a Service with more source ranges than one may have is closed, and says so', () => {
  const rangesOf = (length: number): readonly string[] =>
    Array.from({ length }, (_, index) => `10.${index >> 7}.${(index & 127) * 2}.0/24`);
  const most = makeService('a', { sourceRanges: rangesOf(10_000), ports: [tcp(80), tcp(443)] });
  expect(conditions(statusOf([most]))).toMatchObject({ Serving: 'True Serving' });
  const more = makeService('a', { sourceRanges: rangesOf(10_001) });
  expect(conditions(statusOf([more]))).toMatchObject({ Serving: 'False TooManySourceRanges' });
});

test('a Service for whose source ranges older Services leave no room is closed, and says so', () => {
  const one = makeService('a', { sourceRanges: ['198.51.100.0/24'] });
  const status = statusOf([one], { overBudget: new Set([one.key]) });
  expect(conditions(status)).toMatchObject({ Serving: 'False TooManySourceRanges' });
  expect(status?.conditions.find(({ type }) => type.endsWith('Serving'))?.message).toBe(
    'closed to all clients: loadBalancerSourceRanges amount to 1 range, more than older Services leave of the 30000 of this load balancer: use fewer, wider ranges',
  );
});

import { describe, expect, test } from 'vitest';
import { projectService } from './service.ts';

function specOf(annotations: Readonly<Record<string, string>>, namespace = 'a') {
  return projectService({ metadata: { name: 'web', namespace, annotations } }).spec;
}

test.each([
  'furiwake.dev/addresses',
  'metallb.io/loadBalancerIPs',
  'metallb.universe.tf/loadBalancerIPs',
  'kube-vip.io/loadbalancerIPs',
  'purelb.io/addresses',
  'lbipam.cilium.io/ips',
  'io.cilium/lb-ipam-ips',
  'loxilb.io/staticIP',
  'eip.openelb.kubesphere.io/v1alpha1',
])('%s requests addresses', (name) => {
  expect(specOf({ [name]: ' 192.0.2.1 ' }).addressAnnotations).toEqual([[name, '192.0.2.1']]);
});

test.each([
  'furiwake.dev/pool',
  'metallb.io/address-pool',
  'metallb.universe.tf/address-pool',
  'purelb.io/service-group',
  'eip.openelb.kubesphere.io/v1alpha2',
  'loxilb.io/poolSelect',
])('%s requests a pool', (name) => {
  expect(specOf({ [name]: ' web ' }).poolAnnotations).toEqual([[name, 'web']]);
});

test.each(['loxilb.io/poolSelectSecondary', 'loxilb.io/secondaryIPs'])('%s is ignored and named', (name) => {
  expect(specOf({ [name]: 'x' }).ignoredAnnotations).toEqual([name]);
});

test.each([
  ['true', true],
  ['false', false],
  ['', false],
])('kube-vip.io/ignore=%j asks to be left alone: %j', (text, expected) => {
  expect(specOf({ 'kube-vip.io/ignore': text }).wantsNone).toBe(expected);
});

test('the dataplane is the text of its annotation, valid or not', () => {
  expect(specOf({ 'furiwake.dev/dataplane': ' direct ' }).dataplane).toBe('direct');
  expect(specOf({ 'furiwake.dev/dataplane': 'Nonsense' }).dataplane).toBe('Nonsense');
  expect([specOf({ 'furiwake.dev/dataplane': ' ' }).dataplane, specOf({}).dataplane]).toEqual([undefined, undefined]);
});

test('a default applies unless the Service has the annotation, also an empty one', () => {
  const defaults = [
    ['furiwake.dev/balance', 'source'],
    ['furiwake.dev/backends', 'pods'],
  ] as const;
  const withOwn = (annotations: Readonly<Record<string, string>>): unknown => {
    const { options, backends } = projectService(
      { metadata: { annotations }, spec: { ports: [{ port: 80 }] } },
      defaults,
    ).spec;
    return [options, backends];
  };
  const ofSite = ['furiwake.dev/balance', 'source', 'site'];
  expect(withOwn({})).toEqual([[ofSite], 'pods']);
  expect(withOwn({ 'furiwake.dev/backends': '' })).toEqual([[ofSite], undefined]);
  expect(withOwn({ 'furiwake.dev/balance': 'leastconn' })).toEqual([[['furiwake.dev/balance', 'leastconn']], 'pods']);
  expect(withOwn({ 'furiwake.dev/balance': '' })).toEqual([[], 'pods']);
});

describe('the sharing key', () => {
  test.each([
    'furiwake.dev/sharing-key',
    'metallb.io/allow-shared-ip',
    'metallb.universe.tf/allow-shared-ip',
    'purelb.io/allow-shared-ip',
  ])('is the text of %s', (name) => {
    expect(specOf({ [name]: ' k ' }).sharingKey).toBe('k');
  });

  const key = 'lbipam.cilium.io/sharing-key';
  const across = 'lbipam.cilium.io/sharing-cross-namespace';
  const ciliumKey = (namespace: string, list: string): string | undefined =>
    specOf({ [key]: 'k', [across]: list }, namespace).sharingKey;

  test("of Cilium counts for other namespaces only with its permission, and is the key's text with *", () => {
    const alone = (namespace: string): string | undefined => specOf({ [key]: 'k' }, namespace).sharingKey;
    expect(alone('a')).toBe(alone('a'));
    expect([alone('b'), 'k', undefined]).not.toContain(alone('a'));
    expect(specOf({ [across]: '*' }).sharingKey).toBeUndefined();
    expect(ciliumKey('a', '*')).toBe('k');
    expect(ciliumKey('a', 'b, *')).toBe('k');
    const earlier = { 'io.cilium/lb-ipam-sharing-key': 'k', 'io.cilium/lb-ipam-sharing-cross-namespace': '*' };
    expect(specOf(earlier).sharingKey).toBe('k');
    expect(specOf({ [key]: 'k', 'furiwake.dev/sharing-key': 'own' }).sharingKey).toBe('own');
  });

  test.each<[string, [string, string], [string, string], boolean]>([
    ['each list the other', ['a', 'b'], ['b', 'a'], true],
    ['have the same list', ['a', 'a,b'], ['b', 'b, a'], true],
    ['are three that list the others', ['a', 'b,c'], ['c', 'b,a'], true],
    ['are listed on one side only', ['a', 'b'], ['b', 'c'], false],
    ['list a third one and not each other', ['a', 'c'], ['b', 'c'], false],
    ['are not permitted by a list that is there, whatever the other lists', ['a', 'b'], ['c', 'a,b'], false],
    ['have one list and one *', ['a', 'b'], ['b', '*'], false],
  ])('of Cilium for namespaces that %s: %j, %j the same %s', (_, one, other, isSame) => {
    expect(ciliumKey(...one) === ciliumKey(...other)).toBe(isSame);
  });

  test('of a list cannot be written as a key of another annotation', () => {
    const listed = ciliumKey('a', 'b');
    expect(specOf({ 'furiwake.dev/sharing-key': listed ?? '' }, 'c').sharingKey).not.toBe(listed);
    expect(specOf({ [key]: listed ?? '', [across]: '*' }, 'c').sharingKey).not.toBe(listed);
  });
});

test('the other annotations of furiwake are kept as written, in the order of their names; those of others are not', () => {
  const { options } = specOf({
    'furiwake.dev/pool': 'internal',
    'furiwake.dev/proxy-protocol': ' v2 ',
    'furiwake.dev/balance': 'leastconn',
    'furiwake.dev/nonsense': 'x',
    'furiwake.dev/empty': ' ',
    'furiwake.dev/addresses': '192.0.2.1',
    'furiwake.dev/sharing-key': 'k',
    'furiwake.dev/dataplane': 'direct',
    'example.org/balance': 'x',
  });
  expect(options).toEqual([
    ['furiwake.dev/balance', 'leastconn'],
    ['furiwake.dev/nonsense', 'x'],
    ['furiwake.dev/proxy-protocol', 'v2'],
  ]);
});

test.each([
  [undefined, 10_800],
  [{ clientIP: { timeoutSeconds: 60 } }, 60],
  [{ clientIP: { timeoutSeconds: 0 } }, 10_800],
  [{ clientIP: { timeoutSeconds: 86_401 } }, 10_800],
  [{ clientIP: { timeoutSeconds: '60; x' } }, 10_800],
  ['x', 10_800],
])('sessionAffinityConfig %j is a timeout of %i s', (sessionAffinityConfig, seconds) => {
  expect(projectService({ metadata: {}, spec: { sessionAffinityConfig } }).spec.affinitySeconds).toBe(seconds);
});

test('fields for kube-proxy and the EndpointSlices alone change nothing', () => {
  const spec = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', ports: [{ port: 80, nodePort: 30_080 }] };
  const others = {
    internalTrafficPolicy: 'Local',
    publishNotReadyAddresses: true,
    trafficDistribution: 'PreferSameNode',
  };
  const metadata = { namespace: 'shop', name: 'web', uid: 'a' };
  expect(projectService({ metadata, spec: { ...spec, ...others } })).toEqual(projectService({ metadata, spec }));
});

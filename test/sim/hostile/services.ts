import fc from 'fast-check';
import {
  addressesAnnotations,
  backendsAnnotation,
  ciliumSharingKey,
  ciliumSharingNamespaces,
  dataplaneAnnotation,
  defaultLoadBalancerClass,
  ignoreAnnotation,
  ignoredAnnotations,
  optionPrefix,
  poolAnnotations,
  sharingKeyAnnotations,
  sourceRangesAnnotation,
} from '../../../src/core/model/contract.ts';
import { optionNames } from '../../../src/core/traffic/decode-options.ts';
import type { SimObject } from '../kinds.ts';

/*
 * Services and EndpointSlices as a hostile user writes them: each field and annotation that furiwake reads, with valid values,
 * values of wrong types and ranges, and texts that would change a configuration if they reached it as they are.
 */

/** Stands in a text for a word of its own for each Service, so that a text that reaches another one is found. */
const markPlace = 'MARK';

/** A word that occurs in no configuration, command or other name. */
export function markOf(key: string): string {
  return `pwned${key.replaceAll(/\W/g, '')}`;
}

/** Valid in no field but a sharing key and the name of a pool. */
const hostileText = fc.constantFrom(
  markPlace,
  `192.0.2.8\n    server ${markPlace} 192.0.2.1`,
  `192.0.2.8;shutdown sessions ${markPlace}`,
  `"'${markPlace}\\`,
  `%[env(${markPlace})]`,
  `--${markPlace}`,
  `$(touch /tmp/${markPlace})`,
  `192.0.2.8 } ; flush ruleset ; # ${markPlace}`,
  `192.0.2.8\u0000${markPlace}`,
  `${markPlace}\u0001\u001B[31m`,
  `\u202E${markPlace}\u009B`,
  `pods\n${markPlace}`,
  `v2,${markPlace}`,
  `http:/ready HTTP/1.0 ${markPlace}`,
  `10.0.0.0/8,${markPlace}/0`,
  ','.repeat(500) + markPlace,
  `1${markPlace.repeat(2_000)}`,
);
/** What no field should have. */
const wrongValue = fc.oneof(
  hostileText,
  fc.constantFrom<unknown>(null, true, -1, 0, 0.5, 65_536, 2 ** 53, 1e300, '', '0', [], {}, [[]], [null], { MARK: 1 }),
);

function mostly(...valid: readonly unknown[]): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...valid) }, { weight: 1, arbitrary: wrongValue });
}

const validTexts: readonly (readonly [names: readonly string[], texts: readonly string[]])[] = [
  [
    addressesAnnotations,
    [
      '192.0.2.8',
      '192.0.2.9,2001:db8::9',
      '2001:db8::8',
      '192.0.2.10', // a node's
      '192.0.2.1', // the API server's
      '203.0.113.1', // outside of the pool
      '0.0.0.0',
      '127.0.0.1',
      '::/0',
      '0.0.0.0/0',
      '192.0.2.08',
      '::ffff:192.0.2.8',
    ],
  ],
  [sharingKeyAnnotations, ['k1', 'k2', hostileKey()]],
  [ciliumSharingKey, ['k1', 'k2']],
  [ciliumSharingNamespaces, ['*', 'a,b', 'c']],
  [poolAnnotations, ['public', 'other']],
  [ignoredAnnotations, ['x']],
  [[ignoreAnnotation], ['true', 'false']],
  [[dataplaneAnnotation], ['haproxy', 'direct', 'nat']],
  [[backendsAnnotation], ['pods']],
  [[sourceRangesAnnotation], ['10.0.0.0/8', '10.0.0.0/8, 2001:db8::/32', '0.0.0.0/0']],
  [
    [...optionNames, 'unknown'].map((name) => `${optionPrefix}${name}`),
    ['1', '1000', '0', '1000001', '500ms', '30s', '25h', 'v1', '80=v2', 'all', '80', 'source', 'tcp', 'http:/ready'],
  ],
];

/** A sharing key may be any text: it is compared, and is in no message. */
function hostileKey(): string {
  return '"; flush ruleset\n';
}

const anyAnnotation = fc
  .oneof(
    ...validTexts.map(([names, texts]) =>
      fc.tuple(
        fc.constantFrom(...names),
        fc.oneof(
          { weight: 3, arbitrary: fc.constantFrom(...texts) },
          { weight: 1, arbitrary: hostileText },
          { weight: 1, arbitrary: fc.constantFrom<unknown>(null, 7, true, [], {}, ['192.0.2.8'], { text: 'pods' }) },
        ),
      ),
    ),
  )
  .map(([name, text]): readonly [string, unknown] => [name, text]);

/** More often than other annotations: only with it are the addresses of endpoints used. */
const asksForPods = fc.constant<readonly [string, unknown]>([backendsAnnotation, 'pods']);

const anyPort = fc.record(
  {
    name: mostly('http', 'http', 'dns'),
    port: mostly(53, 80, 443),
    protocol: mostly('TCP', 'TCP', 'UDP', 'SCTP'),
    nodePort: mostly(30_080, 30_081, 32_767),
    targetPort: mostly(8080, 'http'),
  },
  { requiredKeys: ['name', 'port', 'protocol'] },
);

/** The API server refuses a Service that has the same port twice, so this is what furiwake reads. */
function portId({ port, protocol }: { readonly port: unknown; readonly protocol: unknown }): string {
  const number = Number.isInteger(port) ? String(port) : '0';
  return `${number} ${protocol === 'UDP' || protocol === 'SCTP' ? protocol : 'TCP'}`;
}

const anySpec = fc.record(
  {
    type: mostly('LoadBalancer', 'LoadBalancer', 'LoadBalancer', 'LoadBalancer', 'ClusterIP', 'NodePort'),
    loadBalancerClass: mostly(defaultLoadBalancerClass, defaultLoadBalancerClass, 'example.com/other'),
    ipFamilies: mostly(['IPv4'], ['IPv4'], ['IPv6'], ['IPv4', 'IPv6'], ['IPv6', 'IPv4']),
    ipFamilyPolicy: mostly('SingleStack', 'PreferDualStack', 'RequireDualStack'),
    ports: fc.uniqueArray(anyPort, { minLength: 1, maxLength: 3, selector: portId }),
    loadBalancerIP: mostly('192.0.2.8', '192.0.2.9', '2001:db8::9', '192.0.2.12', '203.0.113.1'),
    loadBalancerSourceRanges: mostly(
      ['10.0.0.0/8'],
      ['10.0.0.0/8', '2001:db8::/32'],
      ['10.0.0.1', markPlace, 7],
      ['0.0.0.0/0 accept; flush ruleset'],
      ['::ffff:10.0.0.0/104'],
      [],
    ),
    sessionAffinity: mostly('None', 'ClientIP'),
    externalTrafficPolicy: mostly('Cluster', 'Local'),
    healthCheckNodePort: mostly(32_000, 30_080),
    allocateLoadBalancerNodePorts: mostly(true, false),
  },
  { requiredKeys: ['type', 'ipFamilies', 'ports'] },
);

/** A status that the user claims. */
const anyStatus = fc.record({
  loadBalancer: fc.record({
    ingress: fc.array(
      fc.record(
        {
          ip: fc.constantFrom('192.0.2.8', '192.0.2.10', '192.0.2.11', '203.0.113.1', '2001:db8::8'),
          ipMode: fc.constantFrom('VIP', 'Proxy'),
          hostname: fc.constantFrom('MARK.example'),
        },
        { requiredKeys: ['ip'] },
      ),
      { maxLength: 2 },
    ),
  }),
});

/** Of addresses of Pods, and of addresses that no Pod can have. */
const anyEndpointAddress = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('10.244.1.7', '10.244.2.9', 'fd00:244::7') },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      '127.0.0.1',
      '127.8.8.8',
      '169.254.169.254',
      '224.0.0.1',
      '255.255.255.255',
      '0.0.0.0',
      '192.0.2.1', // the API server's
      '192.0.2.2', // the host's own
      '192.0.2.8', // of the pool
      '::1',
      '::',
      'fe80::1',
      'ff02::1',
      '::ffff:127.0.0.1',
      '2001:db8::8',
    ),
  },
  { weight: 1, arbitrary: wrongValue },
);

const anySlice = fc.record({
  addressType: mostly('IPv4', 'IPv4', 'IPv6', 'FQDN'),
  ports: fc.oneof(
    {
      weight: 5,
      arbitrary: fc.array(
        fc.record({ name: mostly('http', 'http', 'dns'), protocol: mostly('TCP', 'UDP'), port: mostly(8080) }),
        {
          maxLength: 2,
        },
      ),
    },
    { weight: 1, arbitrary: wrongValue },
  ),
  endpoints: fc.oneof(
    {
      weight: 9,
      arbitrary: fc.array(
        fc.record(
          {
            addresses: fc.array(anyEndpointAddress, { maxLength: 2 }),
            nodeName: mostly('n1', 'n2', 'nowhere'),
            conditions: mostly({}, { ready: true }, { ready: false }, { ready: false, serving: true }),
          },
          { requiredKeys: ['addresses'] },
        ),
        { maxLength: 4 },
      ),
    },
    { weight: 1, arbitrary: wrongValue },
  ),
});

const namespaces = ['a', 'b', 'c'];
const names = ['s1', 's2', 's3'];

/** The endpoints of all Services before users write others. */
export const firstSlices: readonly SimObject[] = namespaces.flatMap((namespace) =>
  names.map((name) => ({
    metadata: { namespace, name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: ['http', 'dns'].map((port) => ({ name: port, protocol: 'TCP', port: 8080 })),
    endpoints: [{ addresses: ['10.244.1.7'], nodeName: 'n1' }],
  })),
);

const anyKey = fc
  .tuple(fc.constantFrom(...namespaces), fc.constantFrom(...names))
  .map(([namespace, name]) => ({ namespace, name }));
type Key = { readonly namespace: string; readonly name: string };

/** One act of a user, and the time until the next one. */
export type Step = { readonly waitMs: number } & (
  | { readonly act: 'write'; readonly service: SimObject; readonly keepsFinalizers: boolean }
  | { readonly act: 'remove'; readonly key: Key }
  | { readonly act: 'endpoints'; readonly slice: SimObject }
);

const written = fc
  .record({
    key: anyKey,
    annotations: fc.array(fc.oneof({ weight: 6, arbitrary: anyAnnotation }, { weight: 1, arbitrary: asksForPods }), {
      maxLength: 4,
    }),
    spec: anySpec,
    status: fc.option(anyStatus, { freq: 8, nil: undefined }),
    keepsFinalizers: fc.constantFrom(true, true, true, true, false),
  })
  .map(({ key, annotations, spec, status, keepsFinalizers }) => ({
    act: 'write' as const,
    keepsFinalizers,
    service: marked(key, { metadata: { ...key, annotations: Object.fromEntries(annotations) }, spec, status }),
  }));
const removed = anyKey.map((key) => ({ act: 'remove' as const, key }));
const moved = fc.tuple(anyKey, anySlice).map(([key, slice]) => ({
  act: 'endpoints' as const,
  slice: marked(key, {
    metadata: {
      namespace: key.namespace,
      name: `${key.name}-1`,
      labels: { 'kubernetes.io/service-name': key.name },
    },
    ...slice,
  }),
}));

const anyStep: fc.Arbitrary<Step> = fc
  .tuple(
    fc.constantFrom(0, 0, 0, 50, 2_000),
    fc.oneof({ weight: 6, arbitrary: written }, { weight: 1, arbitrary: removed }, { weight: 2, arbitrary: moved }),
  )
  .map(([waitMs, step]) => ({ waitMs, ...step }));

export const anyHistory: fc.Arbitrary<readonly Step[]> = fc.array(anyStep, { maxLength: 40, size: 'max' });

/** The object with the mark of its Service, as JSON: without fields that are `undefined`. */
function marked({ namespace, name }: Key, object: object): SimObject {
  const text = JSON.stringify(object).replaceAll(markPlace, markOf(`${namespace}${name}`));
  return JSON.parse(text) as SimObject;
}

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
import type { Fields } from '../kinds.ts';
import { hostileText, markPlace, mostly } from './texts.ts';

/*
 * Services as a hostile user writes them: each field and annotation that furiwake reads, with valid values,
 * values of wrong types and ranges, and texts that would change a configuration if they reached it as they are.
 */
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

export const anyAnnotations: fc.Arbitrary<Fields> = fc
  .array(fc.oneof({ weight: 6, arbitrary: anyAnnotation }, { weight: 1, arbitrary: asksForPods }), { maxLength: 4 })
  .map((annotations) => Object.fromEntries(annotations));

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

export const anySpec: fc.Arbitrary<Fields> = fc.record(
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
export const anyStatus: fc.Arbitrary<Fields> = fc.record({
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

import { expect, test } from 'vitest';
import { eligibilityOf, occupiedWords } from './eligibility.ts';
import { makeService, makeSite } from '../../../test/make/service.ts';

const site = makeSite(['192.0.2.8']);
const shown = (manager: string): object => ({
  ingress: [{ ip: '192.0.2.9', hostname: undefined, ipMode: undefined, ports: [] }],
  ingressManager: manager,
});

test.each([
  ['without a class is ours', makeService('a'), site, 'ours'],
  [
    'without a class is not, where we do not take those',
    makeService('a', {}, { finalizers: [] }),
    { ...site, takesDefaultClass: false },
    'foreign',
  ],
  [
    'with our class is ours',
    makeService('a', { loadBalancerClass: 'furiwake.dev/haproxy' }),
    { ...site, takesDefaultClass: false },
    'ours',
  ],
  [
    'with another class is not',
    makeService('a', { loadBalancerClass: 'metallb.io/x' }, { finalizers: [] }),
    site,
    'foreign',
  ],
  [
    'with an annotation to ignore it is not',
    makeService('a', { wantsNone: true }, { finalizers: [] }),
    site,
    'foreign',
  ],
  [
    'with such an annotation and our class is ours',
    makeService('a', { wantsNone: true, loadBalancerClass: 'furiwake.dev/haproxy' }),
    site,
    'ours',
  ],
  [
    'of another namespace is not',
    makeService('a', {}, { finalizers: [] }),
    { ...site, namespaces: new Set(['other']) },
    'foreign',
  ],
  ['of type ClusterIP is not', makeService('a', { type: 'ClusterIP' }, { finalizers: [] }), site, 'foreign'],
  ['whose type was changed away is taken down', makeService('a', { type: 'ClusterIP' }), site, 'leaving'],
  ['that is being deleted is taken down', makeService('a', {}, { isDeleting: true }), site, 'leaving'],
  [
    'that is being deleted and never was ours is not',
    makeService('a', {}, { isDeleting: true, finalizers: [] }),
    site,
    'foreign',
  ],
  [
    'that has only the standard finalizer, of another controller, is not',
    makeService('a', { type: 'NodePort' }, { finalizers: ['service.kubernetes.io/load-balancer-cleanup'] }),
    site,
    'foreign',
  ],
  [
    'without a class that another manager serves is left alone',
    makeService('a', {}, { finalizers: [], status: shown('controller') }),
    site,
    'occupied',
  ],
  [
    'without a class that we wrote ourselves is ours',
    makeService('a', {}, { finalizers: [], status: shown('furiwake') }),
    site,
    'ours',
  ],
  [
    'with our class that another manager wrote is ours',
    makeService('a', { loadBalancerClass: 'furiwake.dev/haproxy' }, { finalizers: [], status: shown('kubectl') }),
    site,
    'ours',
  ],
] as const)('a Service %s', (_, service, where, expected) => {
  expect(eligibilityOf(service, where, false)).toBe(expected);
});

test('a deleted Service that lost our own finalizer is released if it is recorded', () => {
  const service = makeService(
    'a',
    {},
    { isDeleting: true, finalizers: ['service.kubernetes.io/load-balancer-cleanup'] },
  );
  expect(eligibilityOf(service, site, true)).toBe('leaving');
});

test.each([
  ['another class', makeService('a', { loadBalancerClass: 'example.com/b' }), site],
  [
    'another class, and being deleted',
    makeService('a', { loadBalancerClass: 'example.com/b' }, { isDeleting: true }),
    site,
  ],
  ['no class, where only our class is taken', makeService('a'), { ...site, takesDefaultClass: false }],
  ['another namespace', makeService('a'), { ...site, namespaces: new Set(['other']) }],
] as const)('a Service of another furiwake (%s) is left alone, but released if it was ours', (_, service, where) => {
  expect(eligibilityOf(service, where, false)).toBe('foreign');
  expect(eligibilityOf(service, where, true)).toBe('leaving');
});

test('a Service in our records is ours, whichever client wrote its status', () => {
  expect(eligibilityOf(makeService('a', {}, { finalizers: [], status: shown('kubectl') }), site, true)).toBe('ours');
});

const entry = (ip: string | undefined, hostname?: string) => ({ ip, hostname, ipMode: undefined, ports: [] });

test.each([
  ['kubectl', [entry('203.0.113.9')], 'kubectl wrote 203.0.113.9'],
  ['speaker', [entry('203.0.113.9'), entry('2001:db8::9')], 'speaker wrote 203.0.113.9, 2001:db8::9'],
  [undefined, [entry(undefined, 'lb.example.com')], 'an unknown client wrote lb.example.com'],
  [
    'hostile',
    Array.from({ length: 900 }, (_, index) => entry(`203.0.113.${index}`)),
    'hostile wrote 203.0.113.0, 203.0.113.1, 203.0.113.2, 203.0.113.3, 203.0.113.4 and 895 more',
  ],
])(
  'a Service whose status %s wrote is left alone, and that is said with what it wrote',
  (ingressManager, ingress, words) => {
    const service = makeService('a', {}, { status: { ingress, ingressManager } });
    expect(occupiedWords(service)).toBe(`${words}, and the Service has no class: furiwake leaves it alone`);
  },
);

test('a Service in our records that gets an annotation to ignore it is taken down', () => {
  expect(eligibilityOf(makeService('a', { wantsNone: true }), site, true)).toBe('leaving');
});

import { expect, test } from 'vitest';
import { resourceOf, resourcePath } from './paths.ts';

const services = { apiVersion: 'v1', plural: 'services' };
const leases = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' };

test.each([
  ['a collection over all namespaces', resourcePath(services), '/api/v1/services', 'services'],
  [
    'a collection of a namespace',
    resourcePath(leases, { namespace: 'ns' }),
    '/apis/coordination.k8s.io/v1/namespaces/ns/leases',
    'leases',
  ],
  [
    'an object',
    resourcePath(services, { namespace: 'ns', name: 'web' }),
    '/api/v1/namespaces/ns/services/web',
    'services',
  ],
  [
    'a subresource',
    resourcePath(services, { namespace: 'ns', name: 'web', subresource: 'status' }),
    '/api/v1/namespaces/ns/services/web/status',
    'services/status',
  ],
  [
    'a namespace itself',
    resourcePath({ apiVersion: 'v1', plural: 'namespaces' }, { name: 'ns' }),
    '/api/v1/namespaces/ns',
    'namespaces',
  ],
  ['the status of a namespace', '/api/v1/namespaces/ns/status', '/api/v1/namespaces/ns/status', 'namespaces/status'],
  ['no resource', '/version', '/version', 'other'],
])('%s', (_name, path, wanted, label) => {
  expect(path).toBe(wanted);
  expect(resourceOf(path)).toBe(label);
});

test('a name can never leave its place in the path', () => {
  expect(resourcePath(services, { namespace: '../..', name: 'a/b?c=d#e %2f' })).toBe(
    '/api/v1/namespaces/..%2F../services/a%2Fb%3Fc%3Dd%23e%20%252f',
  );
});

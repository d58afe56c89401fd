import { expect, test } from 'vitest';
import { projectEndpointSlice } from './endpoint-slice.ts';
import type { Json } from './wire.ts';

test.each([
  ['ready', { ready: true }, 1],
  ['ready where nothing is said', {}, 1],
  ['ready without conditions', undefined, 1],
  ['not ready', { ready: false, serving: false, terminating: false }, 0],
  ['terminating and still serving', { ready: false, serving: true, terminating: true }, 1],
  ['terminating and no longer serving', { ready: false, serving: false, terminating: true }, 0],
])('an endpoint that is %s', (_, conditions, expected) => {
  const metadata = { namespace: 'shop', name: 'web-x1', labels: { 'kubernetes.io/service-name': 'web' } };
  expect(projectEndpointSlice({ metadata, endpoints: [{ addresses: ['10.0.0.1'], conditions }] })).toEqual({
    key: 'shop/web-x1',
    service: 'shop/web',
    family: undefined,
    ports: [],
    endpoints: Array.from({ length: expected }, () => ({
      node: '',
      address: '10.0.0.1',
      isReady: expect.any(Boolean) as boolean,
    })),
    nodes: [],
  });
});

test('the zones that an endpoint is for are kept where there are some', () => {
  const zonesOf = (hints: Json): unknown =>
    projectEndpointSlice({ endpoints: [{ addresses: ['10.0.0.1'], hints }] }).endpoints[0]?.zones;
  expect(zonesOf({ forZones: [{ name: 'rack-1' }, { name: 'rack-2' }] })).toEqual(['rack-1', 'rack-2']);
  for (const none of [undefined, null, {}, { forZones: [] }, { forZones: 'rack-1' }, { forNodes: [{ name: 'n1' }] }])
    expect(zonesOf(none)).toBeUndefined();
});

test('a slice whose endpoints are null, and one without the label', () => {
  expect(projectEndpointSlice({ metadata: { namespace: 'a', name: 'b' }, endpoints: null })).toEqual({
    key: 'a/b',
    service: undefined,
    family: undefined,
    ports: [],
    endpoints: [],
    nodes: [],
  });
});

test('the ports of a slice are kept by name and protocol, without those that have no number', () => {
  const ports = [
    { name: 'http', protocol: 'TCP', port: 8080 },
    { name: 'dns', protocol: 'UDP', port: 5353 },
    { name: 'any', protocol: 'TCP', port: null },
    { port: 9090 },
    { name: 7, port: '80' },
  ];
  expect(projectEndpointSlice({ addressType: 'IPv4', ports }).ports).toEqual([
    { name: 'http', protocol: 'TCP', port: 8080 },
    { name: 'dns', protocol: 'UDP', port: 5353 },
    { name: '', protocol: 'TCP', port: 9090 },
  ]);
});

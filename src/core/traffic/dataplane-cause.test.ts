import { expect, test } from 'vitest';
import { makeService, tcp, udp } from '../../../test/make/service.ts';
import type { ServiceSpec } from '../model/service.ts';
import { dataplaneCause } from './dataplane-cause.ts';
import type { Dataplane } from './dataplane.ts';

const local = { externalTrafficPolicy: 'Local' } as const;
const affine = { sessionAffinity: 'ClientIP' } as const;
const limited = { options: [['furiwake.dev/max-connections', '5']] } as const;
const withoutNodePort = { ports: [{ ...tcp(80), nodePort: 0 }] };

test.each<[Dataplane, string, Partial<ServiceSpec>, { isHostAddress?: boolean; isDraining?: boolean }?]>([
  ['direct', 'requested', { dataplane: 'direct' }],
  ['direct', 'no nodePort', { ...local, ...withoutNodePort }],
  ['direct', 'Local', { ...local, ...affine }],
  ['direct', 'affinity', affine],
  ['direct', 'as before', {}],
  ['haproxy', 'requested', { dataplane: 'haproxy' }],
  ['haproxy', 'TCP', {}],
  ['haproxy', 'TCP', limited],
  ['haproxy', 'annotations for HAProxy', { ...local, ...limited }],
  ['haproxy', 'Pods as servers', { ...affine, backends: 'pods' }],
  ['haproxy', 'own address of the host', local, { isHostAddress: true }],
  ['haproxy', 'drained', local, { isDraining: true }],
  ['haproxy', 'drained', { dataplane: 'direct' }, { isDraining: true }],
  ['haproxy', 'no node on a LAN of the host', local],
  ['nat', 'requested', { dataplane: 'nat' }],
])('TCP is carried by %s: %s', (dataplane, cause, spec, more) => {
  const listener = { dataplane, protocol: 'TCP', port: 80, isHostAddress: false, isDraining: false, ...more } as const;
  expect(dataplaneCause(makeService('web', spec).spec, listener)).toBe(cause);
});

test.each<[string, Partial<ServiceSpec>]>([
  ['UDP', {}],
  ['UDP', { dataplane: 'haproxy' }],
  ['annotations for HAProxy', { ...affine, ...limited, ports: [tcp(53), udp(53)] }],
])('UDP is carried by nat: %s', (cause, spec) => {
  const listener = { dataplane: 'nat', protocol: 'UDP', port: 53, isHostAddress: false, isDraining: false } as const;
  expect(dataplaneCause(makeService('dns', { ports: [udp(53)], ...spec }).spec, listener)).toBe(cause);
});

import { describe, expect, test } from 'vitest';
import { makeService, ranges, tcp, udp } from '../../../test/make/service.ts';
import { conditions, statusOf } from '../../../test/make/status.ts';
import { nodeName } from '../../../test/make/table.ts';
import type { ServiceSpec } from '../model/service.ts';
import type { ServiceEndpoints } from '../traffic/local.ts';
import type { ServerExcess } from '../traffic/server-budget.ts';

const podPlace = {
  routed: ranges('10.244.0.0/16'),
  reserved: new Map<string, string>(),
  pool: [],
  zone: undefined,
  drained: new Set<never>(),
};

function endpointsOf(...addresses: readonly string[]): ServiceEndpoints {
  const endpoints = addresses.map((address) => ({ address, node: nodeName('n1'), isReady: true }));
  return [{ family: 4, ports: [{ name: 'p80', protocol: 'TCP', port: 8080 }], endpoints, nodes: [] }];
}

/** Reason and message of the condition Serving. */
function serving(
  endpoints: ServiceEndpoints | undefined,
  spec: Partial<ServiceSpec> = {},
  more: Parameters<typeof statusOf>[1] = {},
): string | undefined {
  const service = makeService('web', { backends: 'pods', ...spec });
  const status = statusOf([service], { ...(endpoints && { endpoints }), podPlace, ...more });
  expect(status?.ingress).toHaveLength(1);
  const found = status?.conditions.find(({ type }) => type.endsWith('Serving'));
  return `${conditions(status)['Serving']}: ${found?.message}`;
}

const noRoute = 'because the load-balancer host has no route to';

describe('a Service with Pods as servers', () => {
  test('is served, also without nodes and without a nodePort', () => {
    for (const spec of [{}, { ports: [tcp(80, 0)] }])
      expect(serving(endpointsOf('10.244.1.7'), spec, { nodes: [] })).toBe('True Serving: all ports are served');
  });

  test('says which addresses cannot be Pods, and is not served if there are no others', () => {
    const words = 'no connections to endpoints that cannot be Pods: "127.0.0.1" (loopback address)';
    expect(serving(endpointsOf('127.0.0.1', '10.244.1.7'))).toBe(`True EndpointsRefused: ${words}`);
    expect(serving(endpointsOf('127.0.0.1'))).toBe(`False EndpointsRefused: ${words}`);
  });

  test('is served while one of its ports has Pods', () => {
    const both = endpointsOf('127.0.0.1');
    const https = {
      family: 4 as const,
      ports: [{ name: 'p443', protocol: 'TCP' as const, port: 8443 }],
      endpoints: [{ address: '10.244.1.7', node: nodeName('n1'), isReady: true }],
      nodes: [],
    };
    const found = serving([...both, https], { ports: [tcp(80), tcp(443)] });
    expect(found).toMatch(/^True EndpointsRefused: /);
  });

  test('quotes a text that is not an address, short and in ASCII', () => {
    const text = serving(endpointsOf(`\u202E\u009B${'x'.repeat(2_000)}`, '10.244.1.7'));
    expect(text).toMatch(/^True EndpointsRefused: [ -~…]{1,200}$/);
  });

  test('says that NodePorts serve it, or that not all Pods do, if it asks for too many servers', () => {
    const over = (excess: ServerExcess): Parameters<typeof statusOf>[1] => ({
      overServers: new Map([[makeService('web').key, excess]]),
    });
    const own = over({ wanted: 250_000, most: 4_000, limit: 'service' });
    const some = endpointsOf('10.244.1.7');
    expect(serving(some, { ports: [tcp(80), tcp(81)] }, own)).toBe(
      'True TooManyServers: NodePorts serve port 80, 81: Pods as servers would be 250000 over all ports and families, more than 4000',
    );
    expect(serving(some, { ports: [tcp(80, 0), tcp(443)] }, over({ wanted: 900, most: 100, limit: 'host' }))).toBe(
      'True TooManyServers: NodePorts serve port 443; port 80 (without a nodePort) has some of its Pods, at most 100 in all: Pods as servers would be 900 over all ports and families, more than older Services leave of the 20000 of this load balancer',
    );
  });

  test('says to which Pods the host has no route, and whether NodePorts serve it', () => {
    const far = endpointsOf('10.9.0.1', '10.9.0.2', '10.9.0.3', '10.9.0.4');
    const list = '10.9.0.1, 10.9.0.2, 10.9.0.3, 1 more but its default route';
    expect(serving(far)).toBe(`True NoRouteToPods: NodePorts serve the Service, ${noRoute} ${list}`);
    expect(serving(far, { ports: [tcp(80, 0)] })).toBe(
      `False NoRouteToPods: no connections to some Pods, ${noRoute} ${list}`,
    );
    expect(serving(endpointsOf('10.9.0.1', '10.244.1.7'))).toBe(
      `True NoRouteToPods: no connections to some Pods, ${noRoute} 10.9.0.1 but its default route`,
    );
    expect(serving(far, {}, { nodes: [] })).toContain('False NoNodes');
  });

  test('keeps clients with their Pods, except where NodePorts serve it', () => {
    const spec = { sessionAffinity: 'ClientIP' };
    expect(serving(endpointsOf('10.244.1.7'), spec)).toBe('True Serving: all ports are served');
    expect(serving(endpointsOf('10.9.0.1'), spec)).toContain('ignored: sessionAffinity=ClientIP (one Pod per node)');
    expect(serving(endpointsOf('10.244.1.7'), { ...spec, ports: [tcp(80), udp(53)] })).toContain('sessionAffinity');
  });

  test('says where the annotation is ignored', () => {
    const ignored = 'True FieldsNotHonoured: serving, but ignored: annotation furiwake.dev/backends=';
    expect(serving(undefined, { backends: 'Pods' })).toBe(`${ignored}"Pods" (valid: pods)`);
    expect(serving(undefined, { ports: [tcp(80), udp(53)] })).toBe(
      `${ignored}pods for port 53 (only HAProxy has Pods as servers)`,
    );
    expect(serving(undefined, { ports: [tcp(53), udp(53), udp(54)] })).toBe(
      `${ignored}pods for port 54, 53/UDP (only HAProxy has Pods as servers)`,
    );
    expect(serving(undefined, { dataplane: 'nat' })).toBe(
      `${ignored}pods for port 80 (only HAProxy has Pods as servers)`,
    );
  });
});

describe('a Service with externalTrafficPolicy: Local', () => {
  const local = { backends: undefined, externalTrafficPolicy: 'Local' };
  const words = 'endpoints that cannot be Pods give their nodes no connections: "127.0.0.1" (loopback address)';

  test('says which endpoints do not count, and is not served if there are no others', () => {
    expect(serving(endpointsOf('127.0.0.1', '10.244.1.7'), local)).toContain(`True EndpointsRefused: ${words}`);
    expect(serving(endpointsOf('127.0.0.1'), local)).toContain(`False EndpointsRefused: ${words}`);
  });

  test('counts Pods in the network of their node, whatever the address of the node', () => {
    expect(serving(endpointsOf('192.0.2.11', '10.244.1.7'), local)).not.toContain('EndpointsRefused');
  });
});

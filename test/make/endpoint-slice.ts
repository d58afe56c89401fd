import type { SimObject } from '../sim/kinds.ts';

/** A slice with one ready endpoint on node n1, for all ports of a Service whose port has no name. */
export function endpointSlice(
  service: string,
  namespace = 'default',
  addressType: 'IPv4' | 'IPv6' = 'IPv4',
): SimObject {
  const address = addressType === 'IPv4' ? '10.244.0.2' : 'fd00:244::2';
  return {
    metadata: {
      name: `${service}-${addressType.toLowerCase()}`,
      namespace,
      labels: { 'kubernetes.io/service-name': service },
    },
    addressType,
    endpoints: [{ addresses: [address], nodeName: 'n1', conditions: { ready: true, serving: true } }],
    ports: [{ protocol: 'TCP', port: 8_080 }],
  };
}

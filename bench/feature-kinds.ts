import type { ServiceWish } from './hosts/services.ts';

type Kind = Pick<ServiceWish, 'annotations' | 'spec'>;

const udp = [{ name: 'dns', port: 53, targetPort: 8081, protocol: 'UDP' }];
const local = { externalTrafficPolicy: 'Local' };
const affine = { sessionAffinity: 'ClientIP' };

/** Services that use every dataplane and feature. */
export const featureKinds: readonly Kind[] = [
  {},
  { annotations: { 'furiwake.dev/dataplane': 'direct' }, spec: local },
  { annotations: { 'furiwake.dev/dataplane': 'direct' }, spec: { ...affine, ports: udp } },
  { annotations: { 'furiwake.dev/dataplane': 'nat' }, spec: { ports: udp } },
  { annotations: { 'furiwake.dev/dataplane': 'nat' }, spec: { ...affine, ports: udp } },
  { annotations: { 'furiwake.dev/dataplane': 'haproxy' }, spec: local },
  { spec: { ports: [{ name: 'http', port: 80, targetPort: 8080 }, ...udp] } },
  { spec: { loadBalancerSourceRanges: ['198.51.100.0/24', '192.0.2.0/24'] } },
  { annotations: { 'furiwake.dev/proxy-protocol': 'v2' } },
  { annotations: { 'furiwake.dev/http-mode': 'all' } },
  {
    annotations: {
      'furiwake.dev/max-connections': '100',
      'furiwake.dev/connection-rate': '100',
      'furiwake.dev/max-connections-per-client': '10',
      'furiwake.dev/connection-rate-per-client': '10',
    },
  },
  { annotations: { 'furiwake.dev/max-connections-per-server': '50', 'furiwake.dev/slow-start': '10s' } },
  { annotations: { 'furiwake.dev/balance': 'leastconn', 'furiwake.dev/connect-timeout': '1s' } },
  { annotations: { 'furiwake.dev/health-check': 'http:/readyz', 'furiwake.dev/drain-time': '10s' } },
  { annotations: { 'furiwake.dev/backends': 'pods' } },
  { annotations: { 'furiwake.dev/backends': 'pods' }, spec: affine },
];

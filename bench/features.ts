import { compareByHand, repetitions } from './against-by-hand.ts';
import type { Bench } from './bench.ts';

const services = 100;
/** The client's network is the last one. */
const ranges = [...Array.from({ length: 9 }, (_, index) => `198.51.${100 + index}.0/24`), '10.10.0.0/24'];
/** None is reached. */
const limits = { connections: 5_000, rate: 500_000 } as const;

/**
 * Services with source ranges, affinity to Pods, and limits of connections and rates, in total and per client, against a
 * hand-written HAProxy that does the same. furiwake's ranges are in the kernel; by hand they are an `acl`. The Pods are on their
 * nodes' network.
 */
export const features: Bench = {
  name: 'features',
  title: `ranges, affinity and limits against hand-written HAProxy with the same: ${services} Services, medians of ${repetitions}`,
  run: (context) =>
    compareByHand(context, {
      services,
      features: {
        annotations: {
          'furiwake.dev/backends': 'pods',
          'furiwake.dev/max-connections': String(limits.connections),
          'furiwake.dev/connection-rate': String(limits.rate),
          'furiwake.dev/max-connections-per-client': String(limits.connections),
          'furiwake.dev/connection-rate-per-client': String(limits.rate),
        },
        spec: { sessionAffinity: 'ClientIP', loadBalancerSourceRanges: ranges },
        endpoints: 2,
      },
      lines: [
        `acl is_allowed src ${ranges.join(' ')}`,
        'tcp-request connection reject if !is_allowed',
        `maxconn ${limits.connections}`,
        `tcp-request connection reject if { fe_sess_rate gt ${limits.rate} }`,
        'tcp-request connection track-sc0 src table clients',
        `tcp-request connection reject if { sc_conn_cur(0) gt ${limits.connections} }`,
        `tcp-request connection reject if { sc_conn_rate(0) gt ${limits.rate} }`,
        'balance source',
        'hash-type consistent',
        'stick-table type ip size 100k expire 3h',
        'stick on src',
      ],
      server: 'check inter 5s',
      sections: `backend clients
    stick-table type ip size 100k expire 1m store conn_cur,conn_rate(1s)`,
      targets: { 'keep-alive requests': 0.85, 'new connections': 0.85, bulk: 0.85 },
    }),
};

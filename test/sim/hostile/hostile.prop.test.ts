import fc from 'fast-check';
import { expect, test } from 'vitest';
import { runHistory } from './history.ts';
import { anyHistory, type Step } from './steps.ts';

/** Another load balancer serves the first Service; the endpoint of the second one has its address. */
const podAtAddressOfAnotherService: readonly Step[] = [
  {
    waitMs: 0,
    act: 'write',
    keepsFinalizers: true,
    service: {
      metadata: { namespace: 'a', name: 's1' },
      spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ name: 'http', port: 80, protocol: 'TCP' }] },
      status: { loadBalancer: { ingress: [{ ip: '192.0.2.8' }] } },
    },
  },
  {
    waitMs: 0,
    act: 'endpoints',
    slice: {
      metadata: { namespace: 'a', name: 's2-1', labels: { 'kubernetes.io/service-name': 's2' } },
      addressType: 'IPv4',
      ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
      endpoints: [{ addresses: ['192.0.2.8'] }],
    },
  },
  {
    waitMs: 0,
    act: 'write',
    keepsFinalizers: true,
    service: {
      metadata: { namespace: 'a', name: 's2', annotations: { 'furiwake.dev/backends': 'pods' } },
      spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ name: 'http', port: 53, protocol: 'TCP' }] },
    },
  },
];

test('whatever users write, it concerns their Services alone, which say what is refused and leave nothing', async () => {
  await fc.assert(
    fc.asyncProperty(anyHistory, async (steps) => {
      for (const [what, left] of Object.entries(await runHistory(steps))) expect([what, left]).toEqual([what, 0]);
    }),
    {
      numRuns: 100,
      examples: [[podAtAddressOfAnotherService]],
      interruptAfterTimeLimit: 8_000,
      markInterruptAsFailure: false,
    },
  );
});

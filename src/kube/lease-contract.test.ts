import { describe } from 'vitest';
import { leasesContract } from '../../test/contract/leases.ts';
import { makeLeaseCluster } from '../../test/make/lease-cluster.ts';

describe('API server contract: the one that holds a Lease in memory', () => {
  leasesContract(async () => {
    const cluster = makeLeaseCluster();
    return {
      client: cluster.clientOf('box-1'),
      namespace: 'ns',
      remove: async () => {
        cluster.lease = undefined;
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
  });
});

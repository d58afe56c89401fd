import type { Lease } from '../../src/kube/lease.ts';

/** Hosts that claim the Lease until the end, each by its identity. */
export type LeaseHosts = {
  /** A host; one of the same identity ends. */
  readonly start: (identity: string) => void;
  /** How many hold the Lease. */
  readonly holders: () => number;
  readonly end: () => Promise<void>;
};

export function makeLeaseHosts(claimOf: (identity: string) => Lease): LeaseHosts {
  const hosts = new Map<
    string,
    { readonly lease: Lease; readonly stop: AbortController; readonly ended: Promise<void> }
  >();
  return {
    start: (identity) => {
      hosts.get(identity)?.stop.abort();
      const lease = claimOf(identity);
      const stop = new AbortController();
      const work = async (): Promise<void> => {
        for (;;) {
          await lease.acquire(stop.signal);
          await lease.hold(stop.signal);
        }
      };
      const ended = work();
      ended.catch(() => undefined);
      hosts.set(identity, { lease, stop, ended });
    },
    holders: () => [...hosts.values()].filter(({ lease }) => lease.isHolder()).length,
    end: async () => {
      for (const { stop } of hosts.values()) stop.abort();
      await Promise.allSettled([...hosts.values()].map(({ ended }) => ended));
    },
  };
}

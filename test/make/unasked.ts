import type { Proxy } from '../../src/ports/proxy.ts';

const notAsked = (): Promise<never> => Promise.reject(new Error('not asked here'));

/** What is read for an administrator: the fake of a test that does not ask for it. */
export const unasked: Pick<Proxy, 'observe' | 'counters' | 'serverCounters' | 'connections'> = {
  observe: notAsked,
  counters: notAsked,
  serverCounters: notAsked,
  connections: notAsked,
};

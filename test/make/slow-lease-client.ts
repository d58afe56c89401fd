import type { VirtualClock } from '../sim/virtual-clock.ts';
import type { LeaseClient } from './lease-cluster.ts';

/** The same client, whose answers arrive late. */
export function slowly(client: LeaseClient, answerMs: number, clock: VirtualClock): LeaseClient {
  const late = async <T>(answer: Promise<T>): Promise<T> => {
    answer.catch(() => undefined); // not before it has arrived
    await clock.sleep(answerMs, new AbortController().signal);
    return await answer;
  };
  return {
    get: (...request) => late(client.get(...request)),
    create: (...request) => late(client.create(...request)),
    replace: (...request) => late(client.replace(...request)),
  };
}

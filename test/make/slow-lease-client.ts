import { KubeError } from '../../src/kube/errors.ts';
import type { VirtualClock } from '../sim/virtual-clock.ts';
import type { LeaseClient } from './lease-cluster.ts';

/** The same client, whose answers arrive late, or too late for the timeout of the request: then it was executed all the same. */
export function slowly(client: LeaseClient, answer: number | (() => number), clock: VirtualClock): LeaseClient {
  const late = async <T>(result: Promise<T>, timeoutMs = Infinity): Promise<T> => {
    result.catch(() => undefined); // not before it has arrived
    const answerMs = typeof answer === 'number' ? answer : answer();
    await clock.sleep(Math.min(answerMs, timeoutMs), new AbortController().signal);
    if (answerMs > timeoutMs)
      throw new KubeError({ code: 'TIMEOUT', message: 'no answer in time', verb: 'get', path: '/' });
    return await result;
  };
  return {
    get: (path, options) => late(client.get(path, options), options.timeoutMs),
    create: (path, body, options) => late(client.create(path, body, options), options.timeoutMs),
    replace: (path, body, options) => late(client.replace(path, body, options), options.timeoutMs),
  };
}

import type { WatchError, WatchEvent } from '../../src/kube/watch-event.ts';
import { type SimApiServer, startSimApiServer } from './apiserver.ts';
import { type Harness, type Kept, makeHarness, service } from './harness.ts';
import { type VirtualClock, virtualClock } from './virtual-clock.ts';

/** A server with three Services, and a synchronised harness, in virtual time. */
export async function watchScene(): Promise<
  { server: SimApiServer; harness: Harness; clock: VirtualClock } & AsyncDisposable
> {
  const server = await startSimApiServer({ seed: 1 });
  for (const name of ['a', 'b', 'c']) server.put('Service', service(name));
  const clock = virtualClock();
  const harness = await makeHarness(server, { clock });
  return {
    server,
    harness,
    clock,
    [Symbol.asyncDispose]: async () => {
      await harness[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

export function errorsIn({ events }: Harness): readonly WatchError[] {
  return events.flatMap((event) => (event.type === 'error' ? [event.error] : []));
}

/** The wait that the watch reported. */
export function waitIn({ events }: Harness): number {
  return events.findLast((event) => event.type === 'error')?.retryInMs ?? 0;
}

export function typesIn({ events }: Harness): readonly WatchEvent<Kept>['type'][] {
  return events.map(({ type }) => type);
}

export const watchesOf = (server: SimApiServer): SimApiServer['requests'] =>
  server.requests.filter(({ verb }) => verb === 'watch');
export const listsOf = (server: SimApiServer): SimApiServer['requests'] =>
  server.requests.filter(({ verb }) => verb === 'list');

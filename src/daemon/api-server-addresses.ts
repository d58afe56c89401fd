import { lookup as resolve } from 'node:dns/promises';
import { unlessAborted } from '../async/abort.ts';
import { parseIp } from '../core/ip/ip.ts';
import type { Clock } from '../ports/clock.ts';

const resolveMs = 2_000;

/**
 * The IP addresses of the API server by text, each with its role: a host that assigned one to a Service would cut itself
 * off. The name is resolved once. Empty while that fails, or takes longer than 2 s; the next call tries again, because at
 * boot furiwake may be faster than the resolver. A lookup delays the calls for 2 s in all. Throws when `signal` aborts.
 *
 * `server`: an http or https URL. `lookup`: all addresses of a host name; throws when there are none.
 */
export function makeApiServerAddresses({
  server,
  lookup = (name) => resolve(name, { all: true }),
  clock,
}: {
  readonly server: string;
  readonly lookup?: (name: string) => Promise<readonly { readonly address: string }[]>;
  readonly clock: Clock;
}): (signal: AbortSignal) => Promise<ReadonlyMap<string, string>> {
  const name = new URL(server).hostname.replace(/^\[(.*)\]$/, '$1');
  let known: Awaited<ReturnType<typeof lookup>> | undefined = parseIp(name) && [{ address: name }];
  let running: { readonly ended: Promise<void>; readonly waitUntilMs: number } | undefined;
  const resolveName = async (): Promise<void> => {
    known = await lookup(name).catch(() => undefined);
    running = undefined;
  };
  return async (signal) => {
    if (known === undefined) {
      running ??= { ended: resolveName(), waitUntilMs: clock.monotonic() + resolveMs };
      using deadline = clock.deadline(Math.max(0, running.waitUntilMs - clock.monotonic()), signal);
      await unlessAborted(running.ended, deadline.signal).catch(() => signal.throwIfAborted());
    }
    const ips = (known ?? []).flatMap(({ address }) => parseIp(address) ?? []);
    return new Map(ips.map(({ text }) => [text, 'the API server']));
  };
}

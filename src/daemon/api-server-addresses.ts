import { lookup } from 'node:dns/promises';
import { unlessAborted } from '../async/abort.ts';
import { parseIp } from '../core/ip/ip.ts';

/**
 * The IP addresses of the API server, each with what it is: a host that handed one out would cut itself off. None where
 * its name cannot be resolved before `signal` aborts. `server`: an http or https URL.
 */
export async function addressesOfServer(server: string, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const name = new URL(server).hostname.replace(/^\[(.*)\]$/, '$1');
  const ip = parseIp(name);
  const texts =
    ip === undefined
      ? await unlessAborted(lookup(name, { all: true }), signal).catch(() => [])
      : [{ address: ip.text }];
  return new Map(texts.flatMap(({ address }) => parseIp(address) ?? []).map(({ text }) => [text, 'the API server']));
}

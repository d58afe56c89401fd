import type { Spoken } from './seen.ts';
import { askFrom, type Site } from './site.ts';
import { inTime } from './speak.ts';

const traceTimeoutMs = 3_000;

/** Where the load-balancer host may hold an address. */
const places = {
  'an interface': ['ip', '-oneline', 'address'],
  'a route': ['ip', 'route', 'show', 'table', 'all'],
  'an IPv6 route': ['ip', '-6', 'route', 'show', 'table', 'all'],
  nftables: ['nft', 'list', 'ruleset'],
} as const;

/** The traces of a deleted case after three seconds: its addresses on the load-balancer host, and answers. */
export async function findTraces(
  { balancer, client, signal }: Site,
  spoken: readonly Spoken[],
): Promise<readonly string[]> {
  const addresses = new Set(spoken.flatMap(({ address }) => (address === undefined ? [] : [address])));
  const served = spoken.flatMap(({ address, port: { port, protocol }, fromClient }) =>
    address === undefined || 'failure' in fromClient ? [] : [{ address, port, protocol }],
  );
  let found: readonly string[] = [];
  const look = async (): Promise<boolean> => {
    const texts = Object.entries(places).map(async ([place, command]) => {
      const { stdout } = await balancer.exec(command, { signal });
      return [...addresses].filter((ip) => contains(stdout, ip)).map((ip) => `${ip} in ${place}`);
    });
    found = (await Promise.all(texts)).flat();
    return found.length === 0;
  };
  await inTime(look, { signal, timeoutMs: traceTimeoutMs });
  const targets = served.map((target) => ({ ...target, deadlineMs: 0 }));
  const answers = await askFrom(client, { kind: 'until', targets }, signal);
  const alive = served.filter((_, index) => 'pod' in (answers[index] ?? {}));
  return [...found, ...alive.map(({ address, port, protocol }) => `${address} answers on ${port}/${protocol}`)];
}

/** Whether a text has this address, alone or as a range of one; not as the network of a wider range. */
export function contains(text: string, ip: string): boolean {
  return new RegExp(`(?<![0-9a-f:.])${ip.replaceAll('.', String.raw`\.`)}(?![0-9a-f:.]|/(?!32\\b|128\\b))`).test(text);
}

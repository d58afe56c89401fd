import { type Family, type Ip, parseIp } from '../core/ip/ip.ts';
import { type IpRange, mergeRanges, rangeOf } from '../core/ip/range.ts';
import type { Exec } from '../ports/exec.ts';
import { StartError } from './errors.ts';

/** `ip -json route`: a route has an interface, or several next hops with one each. */
type Route = {
  readonly dev?: string;
  readonly metric?: number;
  readonly nexthops?: readonly { readonly dev?: string }[];
};
type Interface = {
  readonly addr_info?: readonly {
    readonly local?: string;
    readonly temporary?: boolean;
    readonly deprecated?: boolean;
  }[];
};

/**
 * This host's own address on the interface of the default route, one per family. `ours`: those that are there by our
 * doing, text → interface. Throws {@link StartError} when there is none, `ExecError` when `ip` fails.
 */
export async function defaultAddresses(
  exec: Exec,
  ours: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<readonly IpRange[]> {
  const found: IpRange[] = [];
  const devices = new Set<string>();
  for (const family of [4, 6] as const) {
    const device = await defaultDevice(exec, family, signal);
    if (device === undefined) continue;
    devices.add(device);
    const ip = (await addressesOn(exec, family, device, signal)).find(({ text }) => ours.get(text) !== device);
    if (ip !== undefined) found.push(rangeOf(ip));
  }
  if (found.length > 0) return mergeRanges(found);
  const advice = 'say which addresses to hand out with --addresses';
  if (devices.size === 0)
    throw new StartError(`this host has no default route to take its own address from: ${advice}`);
  throw new StartError(
    `there is no usable address on ${[...devices].join(', ')}, the interface of the default route: ${advice}`,
  );
}

/** Of several default routes the one that is used: with the lowest metric. */
async function defaultDevice(exec: Exec, family: Family, signal: AbortSignal): Promise<string | undefined> {
  const routes = await ask<Route>(exec, [`-${family}`, 'route', 'show', 'default'], signal);
  const [first] = routes.toSorted((a, b) => (a.metric ?? 0) - (b.metric ?? 0));
  return first?.dev ?? first?.nexthops?.[0]?.dev;
}

/** Those that last: no temporary ones (privacy extensions), none that is on its way out. */
async function addressesOn(exec: Exec, family: Family, device: string, signal: AbortSignal): Promise<readonly Ip[]> {
  const args = [`-${family}`, 'address', 'show', 'dev', device, 'scope', 'global'];
  return (await ask<Interface>(exec, args, signal))
    .flatMap(({ addr_info: addresses = [] }) => addresses)
    .filter(({ temporary, deprecated }) => temporary !== true && deprecated !== true)
    .flatMap(({ local = '' }) => parseIp(local) ?? []);
}

/** `ip` says nothing at all where there is nothing, also with `-json`. */
async function ask<T>(exec: Exec, args: readonly string[], signal: AbortSignal): Promise<readonly T[]> {
  const { stdout } = await exec.run('ip', ['-json', ...args], { signal });
  return JSON.parse(stdout.trim() || '[]') as readonly T[];
}

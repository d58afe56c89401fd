import { type Family, type Ip, parseIp } from '../core/ip/ip.ts';
import type { Exec } from '../ports/exec.ts';

/** `ip -json route`: a route has an interface, or several next hops with one each. */
export type Route = {
  readonly dev?: string;
  readonly gateway?: string;
  readonly via?: { readonly host?: string };
  readonly metric?: number;
  readonly nexthops?: readonly Omit<Route, 'nexthops' | 'metric'>[];
};
type Listed = {
  readonly addr_info?: readonly {
    readonly local?: string;
    readonly temporary?: boolean;
    readonly deprecated?: boolean;
  }[];
};

/**
 * This host's own address on the interface of the default route, at most one per family. `placed`: the addresses of
 * furiwake, text → interface. Throws `ExecError` when `ip` fails.
 */
export async function primaryAddresses(
  exec: Exec,
  placed: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<readonly Ip[]> {
  const found: Ip[] = [];
  for (const family of [4, 6] as const) {
    const device = await defaultDevice(exec, family, signal);
    if (device === undefined) continue;
    const ip = (await addressesOn(exec, family, device, signal)).find(({ text }) => placed.get(text) !== device);
    if (ip !== undefined) found.push(ip);
  }
  return found;
}

/** Of several default routes the one that is used: with the lowest metric. */
async function defaultDevice(exec: Exec, family: Family, signal: AbortSignal): Promise<string | undefined> {
  const routes = await defaultRoutes(exec, family, signal);
  const [first] = routes.toSorted((a, b) => (a.metric ?? 0) - (b.metric ?? 0));
  return first?.dev ?? first?.nexthops?.[0]?.dev;
}

export function defaultRoutes(exec: Exec, family: Family, signal: AbortSignal): Promise<readonly Route[]> {
  return ask<Route>(exec, [`-${family}`, 'route', 'show', 'default'], signal);
}

/** Those that last: no temporary ones (privacy extensions), none that is deprecated. */
async function addressesOn(exec: Exec, family: Family, device: string, signal: AbortSignal): Promise<readonly Ip[]> {
  const args = [`-${family}`, 'address', 'show', 'dev', device, 'scope', 'global'];
  return (await ask<Listed>(exec, args, signal))
    .flatMap(({ addr_info: addresses = [] }) => addresses)
    .filter(({ temporary, deprecated }) => temporary !== true && deprecated !== true)
    .flatMap(({ local = '' }) => parseIp(local) ?? []);
}

/** `ip` prints nothing at all where there is nothing, also with `-json`. */
export async function ask<T>(exec: Exec, args: readonly string[], signal: AbortSignal): Promise<readonly T[]> {
  const { stdout } = await exec.run('ip', ['-json', ...args], { signal });
  return JSON.parse(stdout.trim() || '[]') as readonly T[];
}

import { isDeepStrictEqual } from 'node:util';
import { bitsOf, type Ip } from '../core/ip/ip.ts';
import type { Exec } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import type { HostAddresses } from '../ports/network.ts';
import { type InterfaceAddress, type NetworkInterface, sortAddresses } from './interfaces.ts';
import type { PlacementRecord } from '../ports/placement.ts';
import { neededAddresses, primaryAddresses, readRoutes, routedRanges } from './routes.ts';

/** The state of the host, as last read and changed since. */
export type NetworkView = {
  /** With their addresses, but without those of furiwake about which `present` says all. */
  readonly interfaces: readonly NetworkInterface[];
  readonly own: ReadonlyMap<string, Ip>;
  readonly primary: readonly Ip[];
  readonly needs: ReadonlyMap<string, string>;
  readonly routed: HostAddresses['routed'];
  /** The files that name the DNS servers. */
  readonly resolvConfs: string;
  /** Addresses of furiwake that the host has, with the interface. */
  readonly present: PlacementRecord;
};

/** With systemd-resolved the first names only its stub 127.0.0.53, the second the servers. A host may have neither. */
const resolvConfPaths: readonly string[] = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

/** The texts of these files; one that cannot be read is empty. */
export async function readResolvConfs(files: Pick<Files, 'read'>): Promise<string> {
  const texts = await Promise.all(resolvConfPaths.map((path) => files.read(path).catch(() => undefined)));
  return texts.join('\n');
}

/**
 * The state of the host from its interfaces, routes and DNS servers. `before`: its primary addresses until now. Throws `ExecError`
 * when `ip` fails.
 */
export async function viewOf(
  interfaces: readonly NetworkInterface[],
  record: PlacementRecord,
  before: readonly Ip[],
  { exec, resolvConfs }: { readonly exec: Exec; readonly resolvConfs: string },
  signal: AbortSignal,
): Promise<NetworkView> {
  const { own, present } = sortAddresses(interfaces, record);
  const routes = await readRoutes(exec, signal);
  return {
    interfaces: withoutOrdinary(interfaces, present),
    own,
    primary: primaryAddresses(routes, interfaces, present, before),
    needs: neededAddresses(routes, interfaces, resolvConfs),
    routed: routedRanges(routes),
    resolvConfs,
    present,
  };
}

/**
 * The interfaces without those addresses of furiwake that have no lifetime, and its mark: there may be ten thousand, and `present` says
 * where they are.
 */
export function withoutOrdinary(
  interfaces: readonly NetworkInterface[],
  present: PlacementRecord,
): readonly NetworkInterface[] {
  const isOrdinary = (name: string, { ip, prefixLength, expires, isMarked }: InterfaceAddress): boolean =>
    prefixLength === bitsOf(ip.family) && !expires && (ip.family === 4 || isMarked) && present.get(ip.text) === name;
  return interfaces.map((link) => ({
    ...link,
    addresses: link.addresses.filter((address) => !isOrdinary(link.name, address)),
  }));
}

/** The new facts, or the earlier ones: each unchanged part keeps its identity. */
export function settled(before: HostAddresses, now: HostAddresses): HostAddresses {
  const next = {
    own: same(before.own, now.own),
    primary: same(before.primary, now.primary),
    needs: same(before.needs, now.needs),
    routed: same(before.routed, now.routed),
    refused: same(before.refused, now.refused),
  };
  return same(before, next);
}

function same<T>(before: T, now: T): T {
  return isDeepStrictEqual(before, now) ? before : now;
}

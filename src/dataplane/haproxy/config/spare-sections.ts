import type { Family } from '../../../core/ip/ip.ts';
import { type Balance, plainProfile, type Profile } from '../../../core/traffic/options.ts';
import { familyOfPool, type PoolId, spareNames } from './pools.ts';
import { spareServerLine } from './spare-servers.ts';
import type { Spares } from './spares.ts';

/** The sections of the configuration. */
export function spareSections({
  sizes,
  profiles,
  servers,
}: Pick<Spares, 'sizes' | 'profiles' | 'servers'>): readonly string[] {
  const backends = (Object.keys(sizes) as PoolId[])
    .toSorted()
    .flatMap((pool) =>
      spareNames(pool, 0, sizes[pool] ?? 0).flatMap((name) => [
        '',
        `backend ${name}`,
        ...profileLines(name, profiles[pool] ?? plainProfile, familyOfPool(pool)),
        ...(servers.get(name) ?? []).map(spareServerLine),
      ]),
    );
  return [...backends, ...affinitySections(profiles)];
}

const algorithms: Readonly<Record<Balance, readonly string[]>> = {
  roundrobin: ['balance roundrobin'],
  leastconn: ['balance leastconn'],
  source: ['balance source', 'hash-type consistent'],
};

/**
 * A connection of the TCP frontend becomes one of HTTP when its backend is in HTTP mode. RFC 7239 quotes IPv6 addresses. A client
 * may write anything in these headers, so they are replaced.
 */
const httpLines: Readonly<Record<Family, readonly string[]>> = {
  4: ['mode http', 'http-request set-header Forwarded for=%[src];proto=http'],
  6: ['mode http', String.raw`http-request set-header Forwarded for=\"[%[src]]\";proto=http`],
};

/** The table that remembers the servers of clients, of all backends with this timeout: by `address in hexadecimal|backend`. */
function affinityTable(family: Family, seconds: number): string {
  return `affinity${family}-${seconds}`;
}

/** Whether a backend is such a table. */
export function isAffinityTable(name: string): boolean {
  return name.startsWith('affinity');
}

/** The sections of the tables that these profiles need. When one is full, it forgets the clients that were unused longest. */
function affinitySections(profiles: Readonly<Partial<Record<PoolId, Profile>>>): readonly string[] {
  const tables = new Map<string, number>();
  for (const [pool, { affinitySeconds }] of Object.entries(profiles) as [PoolId, Profile][])
    if (affinitySeconds > 0) tables.set(affinityTable(familyOfPool(pool), affinitySeconds), affinitySeconds);
  return Array.from(tables).flatMap(([name, seconds]) => [
    '',
    `backend ${name}`,
    `    stick-table type string len 64 size 100k expire ${seconds}s`,
  ]);
}

/** The lines of a backend section with the profile. Numbers, words of a list and a checked path: no text of a user. */
function profileLines(name: string, profile: Profile, family: Family): readonly string[] {
  const { affinitySeconds, balance, checkPath, connectTimeoutMs, idleTimeoutMs, mode, serverTimeoutMs } = profile;
  // Where a client is not remembered, as after a restart, the hash of its address nearly always chooses the same server.
  const algorithm = affinitySeconds > 0 && balance === plainProfile.balance ? 'source' : balance;
  return [
    ...(mode === 'http' ? [...httpLines[family], 'http-request set-header X-Forwarded-For %[src]'] : []),
    ...algorithms[algorithm],
    ...(affinitySeconds > 0
      ? [`stick on src,hex,concat(|${name}) table ${affinityTable(family, affinitySeconds)}`]
      : []),
    ...(connectTimeoutMs > 0 ? [`timeout connect ${connectTimeoutMs}ms`] : []),
    // For TCP, the timeout of the tunnel applies to both sides.
    ...(idleTimeoutMs > 0 ? [`timeout tunnel ${idleTimeoutMs}ms`] : []),
    ...((serverTimeoutMs || idleTimeoutMs) > 0 ? [`timeout server ${serverTimeoutMs || idleTimeoutMs}ms`] : []),
    ...(checkPath === '' ? [] : [`option httpchk GET ${checkPath}`]),
  ].map((line) => `    ${line}`);
}

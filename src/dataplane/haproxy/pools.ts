import type { Family } from '../../core/ip/ip.ts';
import type { BackendId } from '../../core/model/names.ts';
import { revisionOf } from '../../core/revision.ts';
import {
  type Balance,
  hasOwnBackend,
  plainProfile,
  type Profile,
  profileText,
  serverText,
} from '../../core/traffic/options.ts';
import { type Listener, nodesBackend } from '../../core/traffic/table.ts';

/** Spare backends of one family and one profile: `4`, `6`, and with a profile `4.1x2y3z`. */
export type PoolId = `${Family}` | `${Family}.${string}`;

/** The name of a spare backend in HAProxy. */
export type SpareName = `spare${PoolId}-${number}`;

const spareName = /^spare(([46])(?:\.[a-z0-9]{1,12})?)-\d{1,5}$/;

export function isSpareName(name: string): name is SpareName {
  return spareName.test(name);
}

/** The pool of a spare backend; `undefined` for another name. */
export function poolOfSpare(name: string): PoolId | undefined {
  return spareName.exec(name)?.[1] as PoolId | undefined;
}

/** The backend of all nodes of the same family as a spare one; another name as it is. */
export function nodesOf(backend: string): string {
  const family = spareName.exec(backend)?.[2];
  return family === undefined ? backend : `nodes${family}`;
}

/** The pool that has the backend of a listener, if that is not the one of all nodes. */
export function poolOf({ address, options }: Pick<Listener, 'address' | 'options'>): PoolId {
  return poolOfProfile(address.family, options?.profile ?? plainProfile);
}

export function poolOfProfile(family: Family, profile: Profile): PoolId {
  const text = profileText(profile);
  return text === '' ? `${family}` : `${family}.${revisionOf(text)}`;
}

export function familyOfPool(pool: PoolId): Family {
  return pool.startsWith('4') ? 4 : 6;
}

/**
 * The backend that HAProxy needs for a listener: that of the table, or, for options that concern the servers or the backend, one that
 * no other Service and no other port uses: its servers have the port of the listener's target, and their limits are its own.
 */
export function ownerOf({ backend, options, service, targetPort }: Listener): BackendId {
  if (options === undefined || !hasOwnBackend(options)) return backend;
  const { profile, server } = options;
  return [backend, service, targetPort, serverText(server), profileText(profile)].join(' ') as BackendId;
}

/** Whether HAProxy serves the listener through the backend of all nodes. */
export function usesAllNodes(listener: Listener): boolean {
  return ownerOf(listener) === nodesBackend(listener.address.family);
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

/** The table that remembers the servers of clients, of all backends with this timeout: by `backend|address`. */
function affinityTable(family: Family, seconds: number): string {
  return `affinity${family}-${seconds}`;
}

/** The sections of the tables that these profiles need. When one is full, it forgets the clients that were unused longest. */
export function affinitySections(profiles: Readonly<Partial<Record<PoolId, Profile>>>): readonly string[] {
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
export function profileLines(profile: Profile, family: Family): readonly string[] {
  const { affinitySeconds, balance, checkPath, connectTimeoutMs, idleTimeoutMs, mode, serverTimeoutMs } = profile;
  // Where a client is not remembered, as after a restart, the hash of its address nearly always chooses the same server.
  const algorithm = affinitySeconds > 0 && balance === plainProfile.balance ? 'source' : balance;
  return [
    ...(mode === 'http' ? [...httpLines[family], 'http-request set-header X-Forwarded-For %[src]'] : []),
    ...algorithms[algorithm],
    ...(affinitySeconds > 0
      ? [
          'tcp-request content set-var-fmt(txn.client) %[be_name]|%[src]',
          `stick on var(txn.client) table ${affinityTable(family, affinitySeconds)}`,
        ]
      : []),
    ...(connectTimeoutMs > 0 ? [`timeout connect ${connectTimeoutMs}ms`] : []),
    // For TCP, the timeout of the tunnel applies to both sides.
    ...(idleTimeoutMs > 0 ? [`timeout tunnel ${idleTimeoutMs}ms`] : []),
    ...((serverTimeoutMs || idleTimeoutMs) > 0 ? [`timeout server ${serverTimeoutMs || idleTimeoutMs}ms`] : []),
    ...(checkPath === '' ? [] : [`option httpchk GET ${checkPath}`]),
  ].map((line) => `    ${line}`);
}

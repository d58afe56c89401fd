import { PersistentMap } from '../../../core/persistent-map.ts';
import { isPodBackend } from '../../../core/traffic/table.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Desired } from '../config/desired.ts';
import type { HeldSpares } from '../config/held-spares.ts';
import { nodesOf } from '../config/pools.ts';
import type { SpareServer } from '../config/spare-servers.ts';

/**
 * Whose connections end because a node or Pod gets no new ones for as long as the Service permits (`drain-time`). What a server
 * serves counts, not its name, which has the options of the Service:
 *
 *   spare4-0/n1:30080:drain5000         ┐
 *   spare4-7/n1:30080:proxy1.drain9000  ├─► n1 for the NodePort 30080 of shop/web and IPv4: in use while the desired state gives it
 *   spare4.1x2y3z-0/n1:30080:drain9000  ┘   new connections; its limit is the one that the Service has now
 *
 * Nothing ends while a group is not known: the port has no limit any more, HAProxy does not serve it any more, or its servers are not
 * known. After a restart of furiwake the time begins again; only the servers that the serving worker has are known then.
 */
export type DrainLimits = {
  /** After each change of the desired state: the servers that it removes may have connections. */
  follow(): void;
  /**
   * Each round: the servers (`backend/server`) whose time is over, until `ended`; also those that were removed. `held`: `undefined` if
   * that is not known at the moment. `mayBeLeft`: workers that a reload has replaced may have connections.
   */
  overdue(held: Pick<HeldSpares, 'drainsWithLimit' | 'adminOf'> | undefined, mayBeLeft: boolean): readonly string[];
  /** Whether a server is among those of the last round, and what it serves has been out of use since. */
  isOverdue(id: string): boolean;
  /** Connections of those were ended. `isAll` false: perhaps not all, so that they are overdue again in a few seconds. */
  ended(isAll: boolean): void;
};

/** A node or Pod of a group, which is one port of a Service and one family. `name`: of the server, without its options. */
type Served = { readonly group: string; readonly name: string };

/** `out`: since when it is out of use, and from when on its connections may be ended (again). */
type Leaving = Served & { readonly out?: { readonly sinceMs: number; readonly fromMs: number } };

type LimitedState = {
  readonly desired: Desired;
  /** Without those that are not known. */
  readonly groups: ReadonlyMap<string, { readonly limitMs: number; readonly servers: readonly SpareServer[] }>;
  readonly groupOfSpare: ReadonlyMap<string, string>;
  readonly groupOfTarget: ReadonlyMap<string, string>;
};

const noServers: Desired['spares']['servers'] = PersistentMap.empty();

/** Of a server with connections of two groups, or of one that is not known: they have no limit. */
const noGroup = '';

/** A worker that does not answer costs a round seconds. */
const retryMs = 5_000;

export function makeDrainLimits({
  clock,
  desired,
}: {
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly desired: () => Desired | undefined;
}): DrainLimits {
  /** Those that drain, or were removed and may have connections. */
  const leaving = new Map<string, Leaving>();
  let overdue: ReadonlySet<string> = new Set();
  let wanted: LimitedState | undefined;
  /** The groups of the first state: those of the servers that a furiwake before has left. */
  let found: LimitedState['groupOfTarget'] | undefined;

  const isOut = ({ groups }: LimitedState, { group, name }: Served): boolean => {
    const known = groups.get(group);
    return known !== undefined && !usedAmong(known.servers).has(name);
  };
  const note = (group: string, spare: string, name: string, isUsed: boolean): void => {
    const id = `${spare}/${name}`;
    const known = leaving.get(id);
    if (known !== undefined && known.group !== group) leaving.set(id, { group: noGroup, name });
    else if (isUsed) leaving.delete(id);
    else if (known === undefined) leaving.set(id, { group, name: plainName(name) });
  };
  const look = (): LimitedState | undefined => {
    const [before, now] = [wanted, desired()];
    if (now === before?.desired) return before;
    wanted = now && stateOf(now);
    if (wanted === undefined) return undefined;
    found ??= wanted.groupOfTarget;
    for (const [id, { group, name, out }] of leaving)
      if (out !== undefined && !isOut(wanted, { group, name })) leaving.set(id, { group, name });
    const [was, is] = [before?.desired.spares.servers ?? noServers, wanted.desired.spares.servers];
    for (const spare of PersistentMap.changedKeys(was, is)) {
      const [old, group] = [before?.groupOfSpare.get(spare), wanted.groupOfSpare.get(spare)];
      const servers = is.get(spare) ?? [];
      if (group !== undefined) for (const { name, isInUse } of servers) note(group, spare, name, isInUse);
      if (old === undefined) continue;
      const kept = new Set(servers.map(({ name }) => name));
      for (const { name } of was.get(spare) ?? []) if (!kept.has(name)) note(old, spare, name, false);
    }
    return wanted;
  };
  return {
    follow: () => void look(),
    overdue: (held, mayBeLeft) => {
      const ids = new Set<string>();
      overdue = ids;
      const now = look();
      if (held === undefined || now === undefined) return [];
      for (const id of held.drainsWithLimit()) {
        if (leaving.has(id)) continue;
        const [spare = '', name = ''] = id.split('/');
        note(found?.get(targetOf(spare, name)) ?? noGroup, spare, name, false);
      }
      const nowMs = clock.monotonic();
      for (const [id, each] of leaving) {
        const { sinceMs, fromMs } = each.out ?? { sinceMs: nowMs, fromMs: nowMs };
        const admin = held.adminOf(id);
        if (admin === undefined && !(mayBeLeft && fromMs < Infinity)) leaving.delete(id);
        else if (admin !== 'ready' && isOut(now, each)) {
          leaving.set(id, { ...each, out: { sinceMs, fromMs } });
          const endMs = sinceMs + (now.groups.get(each.group)?.limitMs ?? Infinity);
          if (Math.max(endMs, fromMs) <= nowMs) ids.add(id);
        }
      }
      return [...ids];
    },
    isOverdue: (id) => look() !== undefined && overdue.has(id) && leaving.get(id)?.out !== undefined,
    ended: (isAll) => {
      const fromMs = isAll ? Infinity : clock.monotonic() + retryMs;
      for (const id of overdue) {
        const each = leaving.get(id);
        if (each?.out !== undefined) leaving.set(id, { ...each, out: { ...each.out, fromMs } });
      }
    },
  };
}

function stateOf(desired: Desired): LimitedState {
  const { spares, table } = desired;
  const groups = new Map<string, { limitMs: number; servers: readonly SpareServer[] }>();
  const [groupOfSpare, groupOfTarget] = [new Map<string, string>(), new Map<string, string>()];
  for (const [owner, { backend, service, port, server }] of spares.special) {
    if (server.drainMs === 0) continue;
    const spare = spares.names.get(owner);
    if (spare === undefined) continue;
    const target = isPodBackend(backend) ? spare : targetOfPort(spare, port);
    const group = isPodBackend(backend) ? backend : `${target} ${service}`;
    groupOfTarget.set(target, group);
    const isKnown = table.backends.has(backend) || table.pods.has(backend);
    if (isKnown) groups.set(group, { limitMs: server.drainMs, servers: spares.servers.get(spare) ?? [] });
    if (isKnown || !isPodBackend(backend)) groupOfSpare.set(spare, group); // nodes stand in for Pods that are not known
  }
  return { desired, groups, groupOfSpare, groupOfTarget };
}

/** What says whose a server is without the state that it is from: the NodePort, which is of one Service, or the spare of a Pod. */
function targetOf(spare: string, name: string): string {
  const [, port] = /^[^:_]+:(\d+):/.exec(name) ?? [];
  return port === undefined ? spare : targetOfPort(spare, port);
}

function targetOfPort(spare: string, port: number | string): string {
  return `${nodesOf(spare)} ${port}`;
}

/** The name of a server with a limit, without its options. */
function plainName(name: string): string {
  return name.slice(0, name.lastIndexOf(':'));
}

const usedSets = new WeakMap<readonly SpareServer[], ReadonlySet<string>>();

/** The plain names of those that are in use: a silent node is, until its connections are reset as the flag says. */
function usedAmong(servers: readonly SpareServer[]): ReadonlySet<string> {
  const known = usedSets.get(servers);
  if (known !== undefined) return known;
  const used = new Set(servers.flatMap(({ name, isInUse }) => (isInUse ? plainName(name) : [])));
  usedSets.set(servers, used);
  return used;
}

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
 *   spare4-7/n1:30080:proxy1.drain9000  ├─► n1 for the NodePort 30080 and IPv4: in use while the desired state gives it new
 *   spare4.1x2y3z-0/n1:30080:drain9000  ┘   connections; its limit is the one that the Service has now
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
  overdue(held: Pick<HeldSpares, 'drainsWithLimit' | 'has'> | undefined, mayBeLeft: boolean): readonly string[];
  /** Whether a server is among those of the last round, and what it serves is still out of use. */
  isOverdue(id: string): boolean;
  /** Connections of those were ended. `isAll` false: perhaps not all, so that they are overdue again in a few seconds. */
  ended(isAll: boolean): void;
};

/** A node or Pod of a group, which is one port of a Service and one family. `name`: of the server, without its options. */
type Served = { readonly group: string; readonly name: string };

type LimitedGroup = { readonly limitMs: number; readonly servers: readonly SpareServer[] };

type LimitedState = {
  readonly desired: Desired;
  readonly groups: ReadonlyMap<string, LimitedGroup>;
  readonly groupOfSpare: ReadonlyMap<string, string>;
};

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
  const leaving = new Map<string, Served>();
  /** What is out of use: since when, and from when on its connections may be ended (again). */
  let out = new Map<string, Served & { readonly sinceMs: number; readonly fromMs: number }>();
  let overdue: ReadonlyMap<string, Served> = new Map();
  let wanted: LimitedState | undefined;

  const isOut = ({ groups }: LimitedState, { group, name }: Served): boolean => {
    const known = groups.get(group);
    return known !== undefined && !readyAmong(known.servers).has(name);
  };
  const look = (): LimitedState | undefined => {
    const [before, now] = [wanted, desired()];
    if (now === before?.desired) return before;
    wanted = now && stateOf(now);
    if (before === undefined || wanted === undefined) return wanted;
    for (const [key, each] of out) if (!isOut(wanted, each)) out.delete(key);
    const [was, is] = [before.desired.spares.servers, wanted.desired.spares.servers];
    for (const spare of PersistentMap.changedKeys(was, is)) {
      const names = new Set(is.get(spare)?.map(({ name }) => name));
      for (const name of names) leaving.delete(`${spare}/${name}`); // if it drains, HAProxy says so
      const group = before.groupOfSpare.get(spare);
      if (group === undefined) continue;
      for (const { name } of was.get(spare) ?? [])
        if (!names.has(name)) leaving.set(`${spare}/${name}`, { group, name: plainName(name) });
    }
    return wanted;
  };
  return {
    follow: () => void look(),
    overdue: (held, mayBeLeft) => {
      const found = new Map<string, Served>();
      overdue = found;
      const now = look();
      if (held === undefined || now === undefined) return [];
      for (const id of held.drainsWithLimit()) {
        const each = leaving.get(id) ?? servedBy(id, now);
        if (each !== undefined) leaving.set(id, each);
      }
      const nowMs = clock.monotonic();
      const next: typeof out = new Map();
      for (const [id, each] of leaving) {
        const key = keyOf(each);
        const times = out.get(key) ?? { ...each, sinceMs: nowMs, fromMs: nowMs };
        if (!held.has(id) && !(mayBeLeft && times.fromMs < Infinity)) leaving.delete(id);
        else if (isOut(now, each)) {
          next.set(key, times);
          const endMs = times.sinceMs + (now.groups.get(each.group)?.limitMs ?? Infinity);
          if (Math.max(endMs, times.fromMs) <= nowMs) found.set(id, each);
        }
      }
      out = next;
      return [...found.keys()];
    },
    isOverdue: (id) => {
      const [now, each] = [look(), overdue.get(id)];
      return now !== undefined && each !== undefined && isOut(now, each);
    },
    ended: (isAll) => {
      look(); // what is in use again meanwhile has no time any more
      const fromMs = isAll ? Infinity : clock.monotonic() + retryMs;
      for (const key of new Set(Array.from(overdue.values(), keyOf))) {
        const times = out.get(key);
        if (times !== undefined) out.set(key, { ...times, fromMs });
      }
    },
  };
}

function stateOf(desired: Desired): LimitedState {
  const { spares, table } = desired;
  const groups = new Map<string, LimitedGroup>();
  const groupOfSpare = new Map<string, string>();
  for (const [owner, { backend, port, server }] of spares.special) {
    const spare = spares.names.get(owner);
    const isKnown = table.backends.has(backend) || table.pods.has(backend);
    if (spare === undefined || server.drainMs === 0 || !isKnown) continue;
    const group = isPodBackend(backend) ? backend : groupOfPort(spare, port);
    groups.set(group, { limitMs: server.drainMs, servers: spares.servers.get(spare) ?? [] });
    groupOfSpare.set(spare, group);
  }
  return { desired, groups, groupOfSpare };
}

/** A NodePort is of one Service. A Pod may serve several: it counts for the one that has the backend. */
function servedBy(id: string, { groupOfSpare }: LimitedState): Served | undefined {
  const [spare = '', name = ''] = id.split('/');
  const [, port] = /^[^:_]+:(\d+):/.exec(name) ?? [];
  const group = port === undefined ? groupOfSpare.get(spare) : groupOfPort(spare, Number(port));
  return group === undefined ? undefined : { group, name: plainName(name) };
}

function groupOfPort(spare: string, port: number): string {
  return `${nodesOf(spare)} ${port}`;
}

function keyOf({ group, name }: Served): string {
  return `${group} ${name}`;
}

/** The name of a server with a limit, without its options. */
function plainName(name: string): string {
  return name.slice(0, name.lastIndexOf(':'));
}

const readySets = new WeakMap<readonly SpareServer[], ReadonlySet<string>>();

/** The plain names of those that get new connections. */
function readyAmong(servers: readonly SpareServer[]): ReadonlySet<string> {
  const known = readySets.get(servers);
  if (known !== undefined) return known;
  const ready = new Set(servers.flatMap(({ name, admin }) => (admin === 'ready' ? plainName(name) : [])));
  readySets.set(servers, ready);
  return ready;
}

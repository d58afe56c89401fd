import type { TrafficTable } from '../../src/core/traffic/table.ts';
import { type Desired, planDesired } from '../../src/dataplane/haproxy/config/desired.ts';
import type { SilentNodes } from '../../src/dataplane/haproxy/config/spare-servers.ts';
import { type DrainLimits, makeDrainLimits } from '../../src/dataplane/haproxy/runtime/drain-limits.ts';
import { virtualClock, type VirtualClock } from '../sim/virtual-clock.ts';

const settings = { folder: '/run/f', maxConnections: 100, idleTimeoutSeconds: 1, hasIpv6: true, account: undefined };

export type LimitScene = {
  readonly clock: VirtualClock;
  readonly limits: DrainLimits;
  /** Another furiwake on the same host. */
  readonly restart: () => LimitScene;
  /** `isFollowed` false: the change is not complete. */
  readonly plan: (table: TrafficTable, isFollowed?: boolean, silent?: SilentNodes) => void;
  /** One round: the servers that are overdue. `held`: those of the worker that get no new connections. */
  readonly round: (held?: readonly string[], mayBeLeft?: boolean) => readonly string[];
};

/** What HAProxy has: these servers, all in this state. */
export function heldAs(admin: 'ready' | 'drain', ids: readonly string[]): Parameters<DrainLimits['overdue']>[0] {
  return {
    drainsWithLimit: () => (admin === 'drain' ? ids : []),
    adminOf: (id) => (ids.includes(id) ? admin : undefined),
  };
}

/** The drain limits of a host that serves `table`. */
export function makeLimitScene(table: TrafficTable, clock: VirtualClock = virtualClock()): LimitScene {
  let desired: Desired | undefined;
  const limits = makeDrainLimits({ clock, desired: () => desired });
  const plan: LimitScene['plan'] = (next, isFollowed = true, silent) => {
    desired = planDesired(settings, next, desired, silent);
    if (isFollowed) limits.follow();
  };
  const round: LimitScene['round'] = (held = [], mayBeLeft = false) => [
    ...limits.overdue(heldAs('drain', held), mayBeLeft),
  ];
  plan(table);
  return { clock, limits, plan, round, restart: () => makeLimitScene(desired?.table ?? table, clock) };
}

import { makeTrouble } from '../../async/trouble.ts';
import type { BackendId, ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { hostBackend, isHostBackend } from '../../core/traffic/host-pods.ts';
import { makeListener } from '../../core/traffic/make-listener.ts';
import { type Listener, type Listeners, type TrafficTable, usesNat } from '../../core/traffic/table.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Refusals } from '../../ports/host.ts';
import type { Log } from '../../ports/log.ts';
import type { FormerListeners } from './former-listeners.ts';

/** The listeners of `nat` after a new table. `isMoved`: Pods of some differ. */
type Adopted = { readonly listeners: Listeners; readonly isMoved: boolean };

/**
 * The listeners that `nat` has of a published table: its own, those that it had (`former`), and for the host itself those that only
 * `direct` serves, which takes packets of LANs alone. `held`: what it had of the table before.
 */
type NatListeners = {
  /** From the difference to the table before. */
  adopt(before: TrafficTable, next: TrafficTable, held: Listeners): Adopted;
  /** Without former ones that have no connection left; those that only `direct` serves are now for the host itself. */
  withoutIdle(published: TrafficTable, held: Listeners, signal: AbortSignal): Promise<Listeners>;
  /** Without those of listeners that another dataplane has: they do not concern that one. */
  refusalsOf(refusals: Refusals<ListenerKey>, published: TrafficTable): Refusals<ListenerKey>;
  /** Logs those of listeners for the host itself, which nothing else reports. */
  note(refusals: Refusals<ListenerKey>, published: TrafficTable): void;
};

export function makeNatListeners(deps: {
  readonly former: FormerListeners;
  readonly log: Log;
  readonly clock: Clock;
}): NatListeners {
  const { former } = deps;
  const hosted = makeHostedListeners();
  const trouble = makeTrouble({ ...deps, what: 'sending connections of this host itself to Pods of direct' });
  return {
    adopt: (before, next, held) => {
      former.follow(before.listeners, next.listeners);
      const moved = hosted.moved(before.pods, next.pods);
      const changes = [...PersistentMap.changedKeys(before.listeners, next.listeners), ...moved].map((key) => {
        const [had, listener] = [held.get(key), next.listeners.get(key)];
        if (listener === undefined || usesNat(listener)) return [key, listener] as const;
        if (had !== undefined && former.keys().has(key)) return [key, former.rest(had, listener)] as const;
        return [key, hosted.of(listener, next.pods)] as const;
      });
      return { listeners: held.with(changes), isMoved: moved.length > 0 };
    },
    withoutIdle: async ({ listeners, pods }, held, signal) => {
      const left = await former.withoutIdle(held, signal);
      const idle = PersistentMap.changedKeys(held, left).flatMap((key) => listeners.get(key) ?? []);
      return left.with(idle.map((listener) => [listener.key, hosted.of(listener, pods)]));
    },
    refusalsOf: (refusals, { listeners }) => {
      const isOfNat = (listener: Listener | undefined): boolean => listener === undefined || usesNat(listener);
      return new Map([...refusals].filter(([key]) => isOfNat(listeners.get(key))));
    },
    note: (refusals, published) => {
      const isForHost = (key: ListenerKey): boolean => {
        const listener = published.listeners.get(key);
        return listener !== undefined && hostBackend(listener) !== undefined;
      };
      const refused = [...refusals].find(([key]) => isForHost(key));
      if (refused === undefined) trouble.over();
      else trouble.failed(`${refused[0]}: ${refused[1]}`);
    },
  };
}

type HostedListeners = {
  /** The listener with its Pods as the servers; `undefined`: the host needs none, or has none. */
  of(listener: Listener, pods: TrafficTable['pods']): Listener | undefined;
  /** Those that `of` was asked for and whose Pods differ. */
  moved(before: TrafficTable['pods'], next: TrafficTable['pods']): readonly ListenerKey[];
};

function makeHostedListeners(): HostedListeners {
  const users = new Map<BackendId, Set<ListenerKey>>();
  const made = new WeakMap<Listener, Listener>();
  return {
    of: (listener, pods) => {
      const backend = hostBackend(listener);
      if (backend === undefined) return undefined;
      users.set(backend, (users.get(backend) ?? new Set()).add(listener.key));
      const targetPort = pods.get(backend)?.pods[0]?.port;
      if (targetPort === undefined) return undefined;
      const known = made.get(listener);
      if (known?.targetPort === targetPort) return known;
      // As for `direct`, draining has no effect.
      const next = makeListener({ ...listener, dataplane: 'nat', backend, targetPort, isDraining: false });
      made.set(listener, next);
      return next;
    },
    moved: (before, next) => {
      if (users.size === 0 || before === next) return [];
      const ids = PersistentMap.changedKeys(before, next).filter(isHostBackend);
      const keys = ids.flatMap((id) => [...(users.get(id) ?? [])]);
      for (const id of ids) if (!next.has(id)) users.delete(id);
      return keys;
    },
  };
}

import { makeSubscribers } from '../async/subscribers.ts';
import type { ListenerKey } from '../core/model/names.ts';
import type { Verdict } from '../core/reasons.ts';
import { share } from '../core/share.ts';
import { emptyReport, type HostReport, type ListenerReport } from '../core/traffic/report.ts';
import type { TrafficTable } from '../core/traffic/table.ts';
import type { Direct } from '../ports/direct.ts';
import type { Confirmations } from '../ports/confirmations.ts';
import type { Health } from '../ports/health.ts';
import type { Nat } from '../ports/nat.ts';
import type { Proxy } from '../ports/proxy.ts';
import type { Steering } from '../ports/steering.ts';
import type { Advertiser } from '../ports/advertiser.ts';
import type { HostAddresses, HostNetwork } from '../ports/network.ts';
import type { AddressLifetime } from './address-lifetime.ts';
import type { KeptElsewhere } from './kept-elsewhere.ts';
import { addressProblem } from './addresses.ts';
import { type Gap, type HostState, inForceOf, isCertain, isPlaced, isUnderWay, stateOf } from './host-state.ts';
import { isInForceAs } from './listener-changes.ts';
import { outageOf, tableOutageOf } from './proxied.ts';
import { slowWords } from './stages.ts';
import { closed } from './withdrawn.ts';

/** The task of the agent, and its progress. */
export type AgentProgress = {
  readonly desired: TrafficTable | undefined;
  readonly isServing: boolean;
  readonly state: HostState;
  readonly gapOf: (key: ListenerKey) => Gap | undefined;
  /** Until the next pass has ended the addresses of a host that was withdrawn may be missing; also after it (`isPlaced`). */
  readonly isHurried: () => boolean;
};

export type Reporter = {
  report(): HostReport;
  /** Calls `listener` after each change of the report; returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
  /** Updates the report about these listeners, and about health, addresses and duplicates in any case. */
  update(keys: Iterable<ListenerKey>): void;
  updateAll(): void;
  /** Follows health and duplicates; returns a function that ends this. */
  follow(): () => void;
  /** After the addresses of the host, or those that the kernel refuses, may have changed. */
  noteAddresses(): void;
};

/** Keeps the report of one host. Unchanged parts keep their identity; subscribers are called only after a difference. */
export function makeReporter(deps: {
  readonly health: Health;
  readonly confirmations: Pick<Confirmations, 'unconfirmed' | 'subscribe'>;
  readonly network: Pick<HostNetwork, 'addresses'>;
  readonly advertiser: Pick<Advertiser, 'onDuplicates'>;
  readonly lifetime: Pick<AddressLifetime, 'trouble' | 'subscribe'>;
  readonly kept: Pick<KeptElsewhere, 'stateOf'>;
  readonly direct: Pick<Direct, 'isForwarding' | 'onLink' | 'obstacles' | 'onForwarding' | 'outage'>;
  readonly steering: Pick<Steering, 'outage'>;
  readonly nat: Pick<Nat, 'outage'>;
  readonly proxy: Pick<Proxy, 'failing' | 'refusingHeaders' | 'onServers' | 'outage' | 'onTrouble'>;
  readonly progress: () => AgentProgress;
}): Reporter {
  const { health, confirmations, network, advertiser, lifetime, kept, direct, proxy, progress } = deps;
  let report: HostReport = emptyReport;
  let addresses: HostAddresses | undefined;
  let { duplicates } = emptyReport;
  const subscribers = makeSubscribers();

  const reportOf = (
    key: ListenerKey,
    { desired, isServing, state, gapOf, isHurried }: AgentProgress,
    lifetimeTrouble: string | undefined,
  ): ListenerReport | undefined => {
    const wanted = desired?.listeners.get(key);
    const now = stateOf(state, key);
    const holder = now?.held?.service;
    if (wanted === undefined && holder === undefined) return undefined;
    const inForce = inForceOf(now);
    const left = wanted && isServing && !wanted.isHostAddress ? kept.stateOf(wanted.address) : undefined;
    const programmed = wanted && (isServing ? wanted : closed(wanted));
    const isTouched = isUnderWay(state, now) && (wanted === undefined || wanted.revision === inForce?.revision);
    const isUnplaced = wanted !== undefined && !isPlaced(state, wanted);
    const isChanging = isTouched || (isServing && (isHurried() || isUnplaced));
    const isInForce = programmed !== undefined && left === undefined && !isChanging && isInForceAs(programmed, now);
    const isForwarding =
      inForce !== undefined &&
      isServing &&
      left === undefined &&
      (inForce.dataplane !== 'direct' || direct.isForwarding(key));
    const isFailing = inForce !== undefined && proxy.failing().has(key);
    const isHeaderRefused = inForce !== undefined && proxy.refusingHeaders().has(key);
    const isAlone = inForce?.dataplane === 'direct' && inForce.standIn === undefined && now?.lacksProxy === true;
    const standInTrouble = isAlone ? (gapOf(key)?.words ?? slowWords('proxy')) : undefined;
    const proxyTrouble = inForce && outageOf(inForce, { proxy, direct });
    const tableTrouble = inForce && tableOutageOf(inForce, deps);
    const isKnown = now !== undefined && left === undefined && !isChanging && isCertain(now);
    const revision = isKnown ? inForce?.revision : undefined;
    // Not before it is in force: an earlier process may have published the address, and a refused one would be withdrawn.
    const verdict =
      wanted && isInForce
        ? addressProblem(wanted, network.addresses(), lifetimeTrouble)
        : typeof left === 'object'
          ? left
          : verdictOf(gapOf(key), wanted && outageOf(wanted, { proxy, direct }));
    return {
      holder,
      revision: isInForce ? wanted?.revision : revision,
      isForwarding,
      isFailing,
      isHeaderRefused,
      proxyTrouble,
      tableTrouble,
      standInTrouble,
      refusal: wanted && verdict && { revision: wanted.revision, verdict },
    };
  };

  const update = (keys: Iterable<ListenerKey>): void => {
    const now = progress();
    const { own, primary, needs, routed } = network.addresses();
    const lifetimeTrouble = lifetime.trouble(); // once: it may read all listeners
    const changes = Array.from(keys, (key): [ListenerKey, ListenerReport | undefined] => {
      return [key, share(report.listeners.get(key), reportOf(key, now, lifetimeTrouble))];
    });
    const next: HostReport = {
      listeners: report.listeners.with(changes),
      health: health.verdicts(),
      ownAddresses: own,
      primaryAddresses: primary,
      needs,
      routed,
      duplicates,
      onLink: direct.onLink(),
      directObstacles: direct.obstacles(),
      unconfirmed: confirmations.unconfirmed(),
    };
    if ((Object.keys(next) as (keyof HostReport)[]).every((part) => next[part] === report[part])) return;
    report = next;
    subscribers.tell();
  };

  const updateAll = (): void => update([...(progress().desired?.listeners.keys() ?? []), ...report.listeners.keys()]);

  return {
    report: () => report,
    subscribe: subscribers.subscribe,
    update,
    updateAll,
    follow: () => {
      const follow = (): void => update([]);
      const followDuplicates = (next: HostReport['duplicates']): void => {
        duplicates = next;
        update([]);
      };
      const ends = [
        health.subscribe(follow),
        confirmations.subscribe(follow),
        advertiser.onDuplicates(followDuplicates),
        direct.onForwarding(update),
        lifetime.subscribe(updateAll),
        proxy.onServers(updateAll),
        proxy.onTrouble(updateAll),
        ...[deps.steering, direct, deps.nat].map(({ outage }) => outage.subscribe(updateAll)),
      ];
      return () => {
        for (const end of ends) end();
      };
    },
    noteAddresses: () => {
      const before = addresses;
      addresses = network.addresses();
      if (before === addresses) return;
      if (before?.own === addresses.own && before.refused === addresses.refused) update([]);
      else updateAll();
    },
  };
}

const reasonsOf = {
  refused: 'DataplaneError',
  deferred: 'SettingsWaiting',
  blocked: 'DataplaneError',
  unchanged: 'HaproxyUnchanged',
} as const;

/** `outage`: HAProxy has taken no connections for a while, so that it has not refused this listener in particular. */
function verdictOf(gap: Gap | undefined, outage: string | undefined): Verdict | undefined {
  if (gap?.words === undefined) return undefined;
  if (outage !== undefined || gap.is === 'down')
    return { reason: 'HaproxyDown', message: `HAProxy does not serve: ${outage ?? gap.words}` };
  return { reason: reasonsOf[gap.is], message: gap.words };
}

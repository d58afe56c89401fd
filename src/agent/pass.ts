import type { ListenerKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { type Listener, type Listeners, type TrafficTable, usesHaproxy } from '../core/traffic/table.ts';
import type { Addresses } from '../ports/host.ts';
import { commonOf, noAddresses } from './addresses.ts';
import {
  type HostState,
  inForceOf,
  type ListenerState,
  listenersGone,
  listenersHandedOver,
  listenersToChange,
  stateOf,
  unprogrammed,
} from './host-state.ts';
import { withListeners } from './listener-changes.ts';
import { makeOutcomes } from './outcomes.ts';
import { isProxied, prepareProxy } from './proxied.ts';
import { type PassStages, slowWords } from './stages.ts';
import {
  attract,
  type Pass,
  type PassPorts,
  prepareDirect,
  prepareNat,
  programOthers,
  type Step,
  steeringTarget,
} from './steps.ts';

export type PassResult = {
  readonly state: HostState;
  /** Listeners of the target that a tool has refused or put off in this pass, each with its words. */
  readonly refused: ReadonlyMap<ListenerKey, string>;
  /** Why listeners that are gone may not be removed yet: of the first stage that is not done, or of a refusal. */
  readonly obstacle: string | undefined;
  /** Nothing can be programmed before HAProxy has answered for the first time: until then a pass changes nothing. */
  readonly mustWait: boolean;
};

type PassOptions = {
  /** Listeners that this pass does not try. The target has them as they are in force, or not at all. */
  readonly postponed: ReadonlySet<ListenerKey>;
  /** Called before anything is programmed, with the listeners that the host may hold from then on. */
  readonly onBegin: (state: HostState) => void;
  readonly stages: Pick<PassStages, 'attempt'>;
  /** This host was withdrawn, or may serve again, since the pass began: its addresses may be gone. */
  readonly isOvertaken: () => boolean;
  readonly signal: AbortSignal;
};

/**
 * One pass over the host: programs `target`, except for the listeners that a tool refuses.
 *
 *   proxy.upsert ─► nat.prepare, of those that move there ─► steering.apply ─┐   new listeners are ready before packets come
 *   ┌────────────────────────────────────────────────────────────────────────┘
 *   └► direct.apply ─► nat.apply ─► placement.add, advertise ─┐
 *   ┌─────────────────────────────────────────────────────────┘
 *   └► proxy.prune ─► connections reset ─► placement.remove                    packets stop before listeners are removed
 *
 * In the first pass of a process `direct.prepare` comes before `steering.apply`.
 *
 * A refused listener stays as it was and delays no other. A stage that is not done, because it failed as a whole, or is slow,
 * keeps the listeners that depend on it as they were; the others, and the removals that do not depend on it, still proceed.
 * A listener of `direct` depends on no HAProxy: it comes in force without its stand-in. Until nftables has been programmed
 * once, all that an earlier process programmed stays; until HAProxy has, its listeners stay. What waits for HAProxy has the source
 * ranges of now, and is drained as wanted.
 */
export async function makePass(
  ports: PassPorts,
  before: HostState,
  target: TrafficTable,
  options: PassOptions,
): Promise<PassResult> {
  const handedOver = listenersHandedOver(before, target.listeners);
  if (handedOver.length === 0) return await makeOnePass(ports, before, target, options);
  // Removed for one Service before it is added for the other: no client that the old source ranges permit, and no
  // connection under way, reaches the new one.
  const without = withListeners(
    target,
    handedOver.map((key) => [key, undefined]),
  );
  const removal = await makeOnePass(ports, before, without, options, target.listeners);
  const stuck = handedOver.filter((key) => stateOf(removal.state, key) !== undefined);
  const reduced = withListeners(
    target,
    stuck.map((key) => [key, inForceOf(stateOf(removal.state, key))]),
  );
  const postponed = new Set([...options.postponed, ...stuck]);
  const { state, ...rest } = await makeOnePass(ports, removal.state, reduced, { ...options, postponed });
  const open = new Map(state.open);
  const cause = removal.obstacle === undefined ? '' : `: ${removal.obstacle}`;
  const words = `the listener of the Service that had this port is not removed yet${cause}`;
  for (const key of stuck) {
    const left = stateOf(state, key);
    const wanted = target.listeners.get(key);
    if (left !== undefined) open.set(key, { ...left, wanted, gap: { is: 'blocked', words } });
  }
  return { state: { ...state, open }, ...rest };
}

async function makeOnePass(
  ports: PassPorts,
  before: HostState,
  target: TrafficTable,
  { postponed, onBegin, stages, isOvertaken, signal }: PassOptions,
  addressedBy: Listeners = target.listeners,
): Promise<PassResult> {
  const changed = listenersToChange(before, target.listeners).filter(({ key }) => !postponed.has(key));
  const gone = listenersGone(before, target.listeners);
  const begun = withNew(before, changed);
  onBegin({ ...begun, underWay: target.listeners });

  const outcomes = makeOutcomes(target, before);
  /** Something was attempted and is not done, or only in part. */
  let isUncertain = false;
  let obstacle: string | undefined;
  const changes = changed.length + gone.length;
  /** Whether the stage is done. If not, `concerned` are blocked. */
  const step: Step = async (stage, work, concerned = () => []) => {
    const shortfall = await stages.attempt(stage, work, { changes, signal });
    if (shortfall === undefined) return true;
    isUncertain ||= shortfall.wasTried;
    obstacle ??= shortfall.failure?.words ?? slowWords(stage);
    outcomes.block(concerned(shortfall), stage, shortfall.failure);
    return false;
  };
  const pass: Pass = { ports, before, target, changed, gone, outcomes, step, isOvertaken, signal };
  const wanted = ports.addressesOf(addressedBy);

  const { isUpserted, mustWait, upserted } = await prepareProxy(pass);
  const prepared = mustWait ? new Set<ListenerKey>() : await prepareNat(pass);
  if (!mustWait) await prepareDirect(pass);
  /** What nftables has accepted, or may have. */
  let attempted: Listeners | undefined;
  const isSteered =
    !mustWait &&
    (await step(
      'steering',
      async () => {
        const asked = steeringTarget(pass, wanted);
        attempted = asked.listeners;
        const refusals = await ports.steering.apply(asked, signal);
        outcomes.refuse(refusals);
        attempted = asked.listeners.with(Array.from(refusals.keys(), (key) => [key, undefined]));
        if (before.programmed === undefined) outcomes.inherit(refusals.keys());
      },
      () => [...changed, ...gone],
    ));
  if (before.programmed === undefined && !isSteered) {
    // What an earlier process programmed may still serve: only unneeded addresses are removed.
    const kept = (): Addresses => (ports.mayAttract() ? wanted : noAddresses);
    await step('removal', () => ports.placement.remove(kept(), signal));
    const open = Array.from(begun.open, ([key, state]): [ListenerKey, ListenerState] => {
      if (postponed.has(key)) return [key, state];
      const held = attempted?.has(key) === true ? state.held : before.open.get(key)?.held;
      return [key, { ...state, held, gap: outcomes.after(key, { isUncertain, programmed: held })?.gap }];
    });
    return { state: { ...begun, open: new Map(open) }, refused: outcomes.refused(), obstacle, mustWait };
  }
  const { isDone, askedFor } = await programOthers(pass, { prepared, isSteered });
  const isProgrammed = isDone && isSteered;
  /** What the kernel has, whether or not the addresses are on the host. */
  const table = outcomes.table();
  const mayHave = (key: ListenerKey): Listener | undefined => {
    const [was, steered] = [inForceOf(stateOf(before, key)), attempted?.get(key)];
    // `nat` took it at first, and HAProxy, which had it, gets no packets of it any more.
    if (isSteered && !isDone && prepared.has(key) && was?.dataplane === 'haproxy' && steered !== undefined)
      return steered;
    const uncertain = steered ?? was;
    const isCertain = isProgrammed || (isSteered && uncertain?.dataplane === 'haproxy');
    return table.listeners.get(key) ?? (isCertain ? undefined : uncertain);
  };
  const { addresses, placed } = await attract(pass, table, wanted);

  /**
   * With what nftables steers to HAProxy while a listener could not leave another dataplane: what it has accepted, or, if it has refused
   * the listener in this pass, may have accepted before.
   */
  const needed = withListeners(
    table,
    changed
      .map(({ key }) => [key, attempted?.get(key) ?? before.programmed?.proxied.listeners.get(key)] as const)
      .filter(([key, listener]) => listener !== undefined && usesHaproxy(listener) && !isProxied(table, key)),
  );
  const isPruned = isUpserted && isSteered && (await step('pruning', () => ports.proxied.prune(needed, signal)));
  const isFree = ({ key }: Listener): boolean => isPruned || !ports.proxied.mayHave(key);
  const ending = gone.filter((listener) => isSteered && (!usesHaproxy(listener) || isFree(listener)));
  const isEnded = await step('connections', async () => {
    if (ending.length > 0) await ports.host.endConnections(ending, signal);
  });
  // After a restart all that a slow dataplane serves is uncertain: its addresses stay.
  const uncertain = changed.flatMap(({ key }) => {
    const listener = isProgrammed ? undefined : mayHave(key);
    return listener === undefined ? [] : [[key, listener] as const];
  });
  const handedOver = PersistentMap.changedKeys(addressedBy, target.listeners).map(
    (key) => [key, addressedBy.get(key)] as const,
  );
  const needing = withListeners(table, [...uncertain, ...handedOver]).listeners;
  const kept = ports.mayAttract() ? commonOf(ports.addressesOf(needing), wanted) : noAddresses;
  await step('removal', () => ports.placement.remove(kept, signal));

  const remnants = gone.filter(outcomes.isStuck);
  const refused = new Map(outcomes.refused());
  const [refusedRemnant] = remnants.flatMap(({ key }) => refused.get(key) ?? []);
  await step('remnants', async () => {
    if (refusedRemnant !== undefined) throw new RefusedRemnantError(refusedRemnant);
  });
  for (const { key } of remnants) refused.delete(key);

  const removed = new Set(isEnded ? ending.filter((each) => !outcomes.isStuck(each)) : []);
  const remaining = gone.filter((each) => !removed.has(each));
  const tried = new Set([...changed.map(({ key }) => key), ...refused.keys()]); // nft may refuse a listener whose nodes have changed
  const open = openAfter(pass, { postponed, tried, remaining, kept, isUncertain, mayHave, askedFor });
  // Made from the target, not from the earlier map: maps that share their structure are compared in no time.
  const settled = target.listeners.with(Array.from(open.keys(), (key) => [key, undefined]));
  const hadProxied = before.programmed?.proxied.listeners ?? upserted.listeners;
  const unpruned = PersistentMap.changedKeys(hadProxied, upserted.listeners)
    .filter((key) => hadProxied.has(key) && !isProxied(upserted, key) && ports.proxied.mayHave(key))
    .map((key) => [key, hadProxied.get(key)] as const);
  const proxied = isPruned ? needed : withListeners(upserted, unpruned);
  return {
    state: {
      settled,
      open,
      programmed: { table, proxied, addresses, placed: isOvertaken() ? noAddresses : commonOf(placed, kept) },
    },
    refused,
    obstacle,
    mustWait,
  };
}

/** The listeners that are not in force as wanted, or not removed yet (`remaining`). */
function openAfter(
  { before, target, outcomes }: Pass,
  {
    postponed,
    tried,
    remaining,
    kept,
    isUncertain,
    mayHave,
    askedFor,
  }: Pick<PassOptions, 'postponed'> & {
    readonly tried: ReadonlySet<ListenerKey>;
    readonly remaining: readonly Listener[];
    /** The addresses that stay on the host. */
    readonly kept: Addresses;
    readonly isUncertain: boolean;
    /** What the kernel has, or may have. */
    readonly mayHave: (key: ListenerKey) => Listener | undefined;
    readonly askedFor: (key: ListenerKey) => NonNullable<ListenerState['asked']>;
  },
): HostState['open'] {
  const open = new Map<ListenerKey, ListenerState>();
  for (const key of postponed) {
    const state = before.open.get(key);
    if (state !== undefined) open.set(key, target.listeners.has(key) ? state : { ...state, held: undefined });
  }
  for (const key of tried) {
    if (postponed.has(key) || !target.listeners.has(key)) continue;
    const state = outcomes.after(key, { isUncertain, programmed: mayHave(key) });
    if (state !== undefined) open.set(key, state);
  }
  for (const held of remaining) {
    const state = outcomes.after(held.key, { isUncertain, programmed: undefined });
    const known = state?.held === undefined ? unprogrammed(undefined, held) : state;
    const { wanted, gap } = open.get(held.key) ?? {};
    const isReachable = held.isHostAddress || kept.has(held.address.text);
    const inForce = known.inForce === 'yes' && !isReachable ? 'perhaps' : known.inForce;
    open.set(held.key, { ...known, wanted, inForce, gap });
  }
  for (const [key, state] of open) if (!postponed.has(key)) open.set(key, { ...state, asked: askedFor(key) });
  return open;
}

/** The state while `changed` are programmed. */
function withNew(before: HostState, changed: readonly Listener[]): HostState {
  const open = new Map(before.open);
  for (const wanted of changed.filter(({ key }) => !before.settled.has(key))) {
    const state = before.open.get(wanted.key);
    const gap = state?.wanted?.revision === wanted.revision ? state.gap : undefined;
    const known = state?.held === undefined ? unprogrammed(wanted, wanted) : state;
    open.set(wanted.key, { ...known, wanted, gap });
  }
  return { ...before, open };
}

/** nft, or another tool, refuses to remove a listener. */
class RefusedRemnantError extends Error {
  override readonly name = 'RefusedRemnantError';
  readonly code = 'REFUSED';
}

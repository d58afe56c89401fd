import { PersistentMap } from '../core/persistent-map.ts';
import type { ListenerKey } from '../core/model/names.ts';
import { type Listener, type Listeners, type TrafficTable, usesHaproxy } from '../core/traffic/table.ts';
import { listenersGone, listenersHandedOver, listenersToChange, uncertain, withListeners } from './listener-changes.ts';
import type { Addresses } from '../ports/host.ts';
import type { HostState } from './host-state.ts';
import { makeOutcomes } from './outcomes.ts';
import type { PassStages } from './stages.ts';
import { attract, type Pass, type PassPorts, prepareProxy, programOthers, type Step, steeringTarget } from './steps.ts';

export type PassResult = {
  readonly state: HostState;
  /** Listeners of the target that a tool refused on their own, each with its words. */
  readonly refused: ReadonlyMap<ListenerKey, string>;
  /** Of the refused ones, those that HAProxy serves with their settings of before until a reload. */
  readonly waiting: ReadonlySet<ListenerKey>;
  /** Listeners of the target that depend on a stage that is not done; its words, or `undefined` if it is only slow. */
  readonly blocked: ReadonlyMap<ListenerKey, string | undefined>;
};

type PassOptions = {
  readonly onHeld: (held: Listeners) => void;
  readonly stages: Pick<PassStages, 'attempt'>;
  readonly signal: AbortSignal;
};

/**
 * One pass over the host: programs `target`, except for the listeners that a tool refuses.
 *
 *   proxy.upsert ─► steering.apply ─► direct.apply, nat.apply ─► placement.add, advertise ─► proxy.prune ─► connections reset ─► placement.remove
 *   └─ new listeners are ready before packets come ──────────┘    └─ packets to removed listeners stop before removal ──┘
 *
 * A refused listener stays as it was and delays no other. A stage that is not done, because it failed as a whole, or is slow,
 * keeps the listeners that depend on it as they were; the others, and the removals that do not depend on it, still proceed.
 * A listener of `direct` depends on no HAProxy: it comes in force without its stand-in. Until nftables has been programmed
 * once, all that an earlier process programmed stays; until HAProxy has, its listeners stay. What waits for HAProxy has the source
 * ranges of now, and is drained as wanted.
 *
 * `onHeld` is called before anything is programmed, with the listeners that the host may hold from then on.
 */
export async function makePass(
  ports: PassPorts,
  before: HostState,
  target: TrafficTable,
  options: PassOptions,
): Promise<PassResult> {
  const handedOver = listenersHandedOver(before.held, target.listeners);
  if (handedOver.length === 0) return await makeOnePass(ports, before, target, options);
  // Removed for one Service before it is added for the other: no client that the old source ranges permit, and no
  // connection under way, reaches the new one.
  const without = withListeners(
    target,
    handedOver.map((key) => [key, undefined]),
  );
  const removal = await makeOnePass(ports, before, without, options, target.listeners);
  const stuck = handedOver.filter((key) => removal.state.held.has(key));
  const reduced = withListeners(
    target,
    stuck.map((key) => [key, removal.state.inForce.get(key)]),
  );
  const addition = await makeOnePass(ports, removal.state, reduced, options);
  const words = 'the listener of the Service that had this port is not removed yet';
  return { ...addition, blocked: new Map([...addition.blocked, ...stuck.map((key) => [key, words] as const)]) };
}

async function makeOnePass(
  ports: PassPorts,
  before: HostState,
  target: TrafficTable,
  { onHeld, stages, signal }: PassOptions,
  addressedBy: Listeners = target.listeners,
): Promise<PassResult> {
  const changed = listenersToChange(before.inForce, target.listeners);
  const gone = listenersGone(before.held, target.listeners);
  const mayBeHeld = before.held.with(changed.map((listener) => [listener.key, listener]));
  onHeld(mayBeHeld);

  const outcomes = makeOutcomes(target, before.inForce);
  /** Something was attempted and is not done, or only in part. */
  let isUncertain = false;
  /** Whether the stage is done. If not, `concerned` are blocked. */
  const step: Step = async (stage, work, concerned = () => []) => {
    const shortfall = await stages.attempt(stage, work, signal);
    if (shortfall === undefined) return true;
    isUncertain ||= shortfall.wasTried;
    outcomes.block(concerned(shortfall), shortfall.words);
    return false;
  };
  const pass: Pass = { ports, before, target, changed, gone, outcomes, step, signal };
  const isFirst = before.programmed === undefined;
  const wanted = ports.addressesOf(addressedBy);

  const { isUpserted, mustWait, waiting, upserted } = await prepareProxy(pass);
  const isSteered =
    !mustWait &&
    (await step(
      'steering',
      async () => outcomes.refuse(await ports.steering.apply(steeringTarget(pass, wanted), signal)),
      () => [...changed, ...gone],
    ));
  const { refused, blocked, instead } = outcomes;
  if (isFirst && !isSteered) {
    // What an earlier process programmed may still serve: only unneeded addresses are removed.
    const kept = (): Addresses => (ports.mayAttract() ? wanted : PersistentMap.empty());
    await step('removal', () => ports.placement.remove(kept(), signal));
    return { state: { ...before, held: mayBeHeld }, refused, waiting, blocked };
  }
  await programOthers(pass);
  /** What the kernel has, be the addresses there or not. */
  const table = outcomes.table();
  const { addresses, attracted } = await attract(pass, table, wanted);

  const mayPrune = isUpserted && (isSteered || gone.length === 0);
  const isPruned = mayPrune && (await step('pruning', () => ports.proxied.prune(table, signal)));
  const isFree = ({ key }: Listener): boolean => isPruned || !ports.proxied.mayHave(key);
  const ending = gone.filter((listener) => isSteered && (!usesHaproxy(listener) || isFree(listener)));
  const isEnded = await step('connections', async () => {
    if (ending.length > 0) await ports.host.endConnections(ending, signal);
  });
  await step('removal', () => ports.placement.remove(attracted(), signal));

  const remnants = gone.filter(outcomes.isLeft);
  const removed = new Set(isEnded ? ending.filter((each) => !outcomes.isLeft(each)) : []);
  const remaining = gone.filter((listener) => !removed.has(listener));
  const unchanged = changed.filter(outcomes.isLeft);
  const revisionLeft = (key: ListenerKey): Listener | undefined => {
    const old = outcomes.left(key);
    return !isUncertain || old === undefined ? old : uncertain(old);
  };
  // Both are made from the target, not from the earlier maps: maps that share their structure are compared in no time.
  const inForce = target.listeners
    .with([...remnants, ...unchanged].map(({ key }) => [key, revisionLeft(key)]))
    .with(instead);
  // A refused listener that was never in force is not held.
  const held = target.listeners
    .with(remaining.map((listener) => [listener.key, listener]))
    .with(unchanged.map(({ key }) => [key, outcomes.inForce.get(key)]))
    .with(instead);
  const [refusedRemnant] = remnants.flatMap(({ key }) => refused.get(key) ?? []);
  await step('remnants', async () => {
    if (refusedRemnant !== undefined) throw new Error(refusedRemnant);
  });
  for (const { key } of remnants) {
    refused.delete(key);
    blocked.delete(key);
  }
  const unpruned = listenersGone(before.programmed?.proxied.listeners ?? upserted.listeners, upserted.listeners)
    .filter(({ key }) => ports.proxied.mayHave(key))
    .map((each) => [each.key, each] as const);
  const proxied = isPruned ? table : withListeners(upserted, unpruned);
  return { state: { held, inForce, programmed: { table, proxied, addresses } }, refused, waiting, blocked };
}

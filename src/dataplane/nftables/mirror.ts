import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { SteeringTarget } from '../../ports/host.ts';
import { type Element, elementKey, listenerElements, ListenerError, vipElement } from './elements.ts';

/** The contents of the kernel: those of a target, except for some listeners. */
export type Mirror = {
  readonly target: SteeringTarget;
  /** The elements of listeners that differ from `target`: the last accepted ones, perhaps none. */
  readonly kept: ReadonlyMap<ListenerKey, readonly Element[]>;
};

export const emptyMirror: Mirror = {
  target: { listeners: PersistentMap.empty(), vips: PersistentMap.empty(), own: new Map(), portOf: () => 0 },
  kept: new Map(),
};

/** The difference between two states of the kernel. */
export type Change = { readonly remove: readonly Element[]; readonly add: readonly Element[] };

/** A change and its subject: one listener, or (`undefined`) the addresses where everything else is rejected. */
export type ChangePart = Change & { readonly listener: ListenerKey | undefined };

export type Difference = {
  /** One for each listener that differs, and the last one for the addresses if they do. */
  readonly parts: readonly ChangePart[];
  /** Listeners that nftables cannot steer, each with the cause. */
  readonly refused: ReadonlyMap<ListenerKey, string>;
  /** The present kernel relative to the new target, with all differences. */
  readonly start: Mirror;
  /** The kernel with all parts in force. */
  readonly goal: Mirror;
};

/** The change from the present kernel to `target`; inspects only the differences. */
export function differenceTo(target: SteeringTarget, before: Mirror): Difference {
  const parts: ChangePart[] = [];
  const refused = new Map<ListenerKey, string>();
  const kept = new Map<ListenerKey, readonly Element[]>();
  for (const key of changedListeners(before, target)) {
    const old = elementsOf(before, key);
    try {
      const now = elementsOf({ target, kept: emptyMirror.kept }, key);
      const [remove, add] = [missingFrom(now, old), missingFrom(old, now)];
      if (remove.length + add.length === 0) continue;
      parts.push({ listener: key, remove, add });
    } catch (error) {
      if (!(error instanceof ListenerError)) throw error;
      refused.set(key, error.message);
    }
    kept.set(key, old);
  }
  const vips = vipsPart(before.target.vips, target.vips);
  if (vips !== undefined) parts.push(vips);
  const start = { target: { ...target, vips: before.target.vips }, kept };
  return { parts, refused, start, goal: withParts(start, target, parts) };
}

/** The mirror after these parts of a change to `target` are in force. */
export function withParts(mirror: Mirror, target: SteeringTarget, parts: readonly ChangePart[]): Mirror {
  const kept = new Map(mirror.kept);
  for (const { listener } of parts) if (listener !== undefined) kept.delete(listener);
  const hasVips = parts.some(({ listener }) => listener === undefined);
  return { target: { ...target, vips: hasVips ? target.vips : mirror.target.vips }, kept };
}

/** All parts as one change. */
export function joined(parts: readonly ChangePart[]): Change {
  return { remove: parts.flatMap(({ remove }) => remove), add: parts.flatMap(({ add }) => add) };
}

/** All elements in the kernel. */
export function allElements(mirror: Mirror): readonly Element[] {
  const { listeners, vips } = mirror.target;
  const elements = Array.from(listeners.keys()).flatMap((key) => elementsOf(mirror, key));
  for (const [key, kept] of mirror.kept) if (!listeners.has(key)) elements.push(...kept);
  for (const ip of vips.values()) elements.push(vipElement(ip));
  return elements;
}

/**
 * Says whether a target has a listener on an own address of the host; inspects only the changes since the last call.
 */
export function makeOwnAddressIndex(): (target: SteeringTarget) => boolean {
  const found = new Set<ListenerKey>();
  let { listeners, own } = emptyMirror.target;
  return (target) => {
    const changed =
      target.own === own ? PersistentMap.changedKeys(listeners, target.listeners) : target.listeners.keys();
    if (target.own !== own) found.clear();
    ({ listeners, own } = target);
    for (const key of changed) {
      const listener = listeners.get(key);
      if (listener !== undefined && own.has(listener.address.text)) found.add(key);
      else found.delete(key);
    }
    return found.size > 0;
  };
}

/** Listeners whose elements may differ: a change of the own addresses may concern every restricted one. */
function changedListeners({ target: before, kept }: Mirror, target: SteeringTarget): ReadonlySet<ListenerKey> {
  const keys = new Set([...PersistentMap.changedKeys(before.listeners, target.listeners), ...kept.keys()]);
  if (before.own !== target.own)
    for (const [key, { sourceRanges }] of target.listeners) if (sourceRanges !== undefined) keys.add(key);
  return keys;
}

function elementsOf({ target: { listeners, portOf, own }, kept }: Mirror, key: ListenerKey): readonly Element[] {
  const listener = listeners.get(key);
  return kept.get(key) ?? (listener === undefined ? [] : listenerElements(listener, portOf(listener), own));
}

function vipsPart(before: SteeringTarget['vips'], after: SteeringTarget['vips']): ChangePart | undefined {
  const remove: Element[] = [];
  const add: Element[] = [];
  for (const text of PersistentMap.changedKeys(before, after)) {
    const [old, now] = [before.get(text), after.get(text)];
    if (old === undefined && now !== undefined) add.push(vipElement(now));
    if (old !== undefined && now === undefined) remove.push(vipElement(old));
  }
  return remove.length + add.length === 0 ? undefined : { listener: undefined, remove, add };
}

function missingFrom(present: readonly Element[], elements: readonly Element[]): readonly Element[] {
  const texts = new Set(present.map(elementKey));
  return elements.filter((element) => !texts.has(elementKey(element)));
}

import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import type { SteeringTarget } from '../../ports/host.ts';
import { type Element, elementKey, listenerElements, vipElement } from './elements.ts';

export const emptyTarget: SteeringTarget = {
  listeners: PersistentMap.empty(),
  vips: PersistentMap.empty(),
  own: new Map(),
  portOf: () => 0,
};

/** What leads from one state of the kernel to another. */
export type Change = { readonly remove: readonly Element[]; readonly add: readonly Element[] };

/** A change with what it is for: one listener, or (`undefined`) the addresses where everything else is refused. */
export type ChangePart = Change & { readonly listener: ListenerKey | undefined };

/**
 * What leads from `before` to `after`, a part for each listener and one for the addresses; looks only at what differs.
 * `onRefused` is told of listeners that nftables cannot steer: they stay as they are in `before`.
 */
export function diffTargets(
  before: SteeringTarget,
  after: SteeringTarget,
  onRefused: (listener: ListenerKey, words: string) => void = () => undefined,
): readonly ChangePart[] {
  const parts: ChangePart[] = [];
  const keys = new Set(PersistentMap.changedKeys(before.listeners, after.listeners));
  if (before.own !== after.own)
    for (const [key, { sourceRanges }] of after.listeners) if (sourceRanges !== undefined) keys.add(key);
  for (const key of keys) {
    try {
      const old = elementsOf(before, key);
      const now = elementsOf(after, key);
      const [remove, add] = [missingFrom(now, old), missingFrom(old, now)];
      if (remove.length + add.length > 0) parts.push({ listener: key, remove, add });
    } catch (error) {
      onRefused(key, error instanceof Error ? error.message : String(error));
    }
  }
  const remove: Element[] = [];
  const add: Element[] = [];
  for (const text of PersistentMap.changedKeys(before.vips, after.vips)) {
    const [old, now] = [before.vips.get(text), after.vips.get(text)];
    if (old === undefined && now !== undefined) add.push(vipElement(now));
    if (old !== undefined && now === undefined) remove.push(vipElement(old));
  }
  if (remove.length + add.length > 0) parts.push({ listener: undefined, remove, add });
  return parts;
}

/** All parts as one change. */
export function joined(parts: readonly ChangePart[]): Change {
  return { remove: parts.flatMap(({ remove }) => remove), add: parts.flatMap(({ add }) => add) };
}

/** All that the kernel holds with this target in force. */
export function allElements(target: SteeringTarget): readonly Element[] {
  return joined(diffTargets(emptyTarget, target)).add;
}

function elementsOf({ listeners, portOf, own }: SteeringTarget, key: ListenerKey): readonly Element[] {
  const listener = listeners.get(key);
  return listener === undefined ? [] : listenerElements(listener, portOf(listener), own);
}

function missingFrom(present: readonly Element[], elements: readonly Element[]): readonly Element[] {
  const texts = new Set(present.map(elementKey));
  return elements.filter((element) => !texts.has(elementKey(element)));
}

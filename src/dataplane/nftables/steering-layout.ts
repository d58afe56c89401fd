import type { ListenerKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { usesHaproxy, usesNat } from '../../core/traffic/table.ts';
import type { SteeringTarget } from '../../ports/steering.ts';
import type { Element } from './element.ts';
import { closedElement, listenerElements, passedElement, vipElement } from './elements.ts';
import type { Layout } from './mirror.ts';

/** See `steeringRules`; without them, false. */
export type SteeredTarget = SteeringTarget & { readonly isBridgeFiltered?: boolean; readonly hasFormerNat?: boolean };

/** The elements of table `inet furiwake`: the rest are the added addresses, where everything but listeners is rejected. */
export const steeringLayout: Layout<SteeredTarget> = {
  empty: {
    listeners: PersistentMap.empty(),
    serverless: new Set(),
    vips: PersistentMap.empty(),
    own: new Map(),
    portOf: () => 0,
  },
  elementsOf: ({ serverless, portOf, own, isBridgeFiltered = false }, listener) => {
    // Packets that the bridge passes through here reach the table of `direct` only after it.
    if (usesNat(listener) || (isBridgeFiltered && !usesHaproxy(listener))) return [passedElement(listener)];
    if (!usesHaproxy(listener)) return [];
    const elements = listenerElements(listener, portOf(listener), own);
    return listener.isDraining || serverless.has(listener.key) ? [...elements, closedElement(listener)] : elements;
  },
  // A change of the own addresses may concern every restricted listener.
  mayDiffer: (before, after) => [
    ...[...before.serverless, ...after.serverless].filter(
      (key) => before.serverless.has(key) !== after.serverless.has(key),
    ),
    ...(before.isBridgeFiltered === after.isBridgeFiltered
      ? []
      : [...after.listeners].flatMap(([key, listener]) => (usesHaproxy(listener) ? [] : key))),
    ...(before.own === after.own
      ? []
      : [...after.listeners].flatMap(([key, { sourceRanges }]) => (sourceRanges === undefined ? [] : key))),
  ],
  rest: ({ vips }) => Array.from(vips.values(), vipElement),
  restChange: (before, after) => {
    const remove: Element[] = [];
    const add: Element[] = [];
    for (const text of PersistentMap.changedKeys(before.vips, after.vips)) {
      const [old, now] = [before.vips.get(text), after.vips.get(text)];
      if (old === undefined && now !== undefined) add.push(vipElement(now));
      if (old !== undefined && now === undefined) remove.push(vipElement(old));
    }
    return { remove, add };
  },
  withRestOf: (target, { vips }) => ({ ...target, vips }),
};

/**
 * Says whether a target steers a listener on an own address of the host; inspects only the changes since the last call.
 */
export function makeOwnAddressIndex(): (target: SteeringTarget) => boolean {
  const found = new Set<ListenerKey>();
  let { listeners, own } = steeringLayout.empty;
  return (target) => {
    const changed =
      target.own === own ? PersistentMap.changedKeys(listeners, target.listeners) : target.listeners.keys();
    if (target.own !== own) found.clear();
    ({ listeners, own } = target);
    for (const key of changed) {
      const listener = listeners.get(key);
      if (listener !== undefined && usesHaproxy(listener) && own.has(listener.address.text)) found.add(key);
      else found.delete(key);
    }
    return found.size > 0;
  };
}

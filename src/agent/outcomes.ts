import type { ListenerKey } from '../core/model/names.ts';
import type { Listener, Listeners, TrafficTable } from '../core/traffic/table.ts';
import type { Refusals } from '../ports/host.ts';
import { leftAs, withListeners } from './listener-changes.ts';

/** What a pass finds out about the listeners of its target that cannot be in force as wanted. */
export type Outcomes = {
  /** Refused by a tool on their own, each with its words. */
  readonly refused: Map<ListenerKey, string>;
  /** They depend on a stage that is not done; its words, or `undefined` if it is only slow. */
  readonly blocked: Map<ListenerKey, string | undefined>;
  /** Those of them that are in force nevertheless, in part: without their stand-in, or with another profile. */
  readonly instead: Map<ListenerKey, Listener>;
  /** Those of `instead` that have another profile until a reload of HAProxy. */
  readonly waiting: Set<ListenerKey>;
  refuse(refusals: Refusals<ListenerKey>): void;
  block(listeners: readonly Listener[], words: string | undefined): void;
  /** Whether the listener stays as it is in force. */
  readonly isLeft: (listener: Listener) => boolean;
  /** As it is in force, if it is. */
  left(key: ListenerKey): Listener | undefined;
  /** Other listeners count as those in force. */
  setInForce(inForce: Listeners): void;
  readonly inForce: Listeners;
  /** The target with every refused or blocked listener as it is in force, or without it. */
  table(): TrafficTable;
};

export function makeOutcomes(target: TrafficTable, before: Listeners): Outcomes {
  let inForce = before;
  const refused = new Map<ListenerKey, string>();
  const blocked = new Map<ListenerKey, string | undefined>();
  const instead = new Map<ListenerKey, Listener>();
  const waiting = new Set<ListenerKey>();
  const end = (key: ListenerKey): boolean => {
    waiting.delete(key);
    return instead.delete(key);
  };
  const isLeft = ({ key }: Listener): boolean => !instead.has(key) && (refused.has(key) || blocked.has(key));
  const left = (key: ListenerKey): Listener | undefined => leftAs(inForce, target.listeners, key);
  return {
    refused,
    blocked,
    instead,
    waiting,
    refuse: (refusals) => {
      for (const [key, words] of refusals) if (end(key) || !refused.has(key)) refused.set(key, words);
    },
    block: (listeners, words) => {
      for (const listener of listeners)
        if (!isLeft(listener)) {
          end(listener.key);
          blocked.set(listener.key, words);
        }
    },
    isLeft,
    left,
    setInForce: (next) => {
      inForce = next;
    },
    get inForce() {
      return inForce;
    },
    table: () => {
      const keys = [...refused.keys(), ...blocked.keys()];
      return withListeners(target, [...keys.map((key) => [key, left(key)] as const), ...instead]);
    },
  };
}

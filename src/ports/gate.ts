import type { Family, Ip } from '../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../core/model/names.ts';
import type { PersistentMap } from '../core/persistent-map.ts';

/**
 * A listener that nodes serve themselves. `publishedMs`: since when this host sees it published, monotonic ms;
 * -Infinity: since before this process started; `undefined`: it is not published.
 */
export type GatedListener = { readonly family: Family; readonly publishedMs: number | undefined };

/** An address of a node. `isUp`: the node is not silent in this family. */
export type GatedAddress = { readonly address: Ip; readonly isUp: boolean };

/**
 * Lets packets of a listener through to a node only when the kube-proxy of the node is shown to serve it. A packet that
 * arrives earlier is routed back, and leaves a conntrack entry without NAT that captures all later packets of its flow.
 */
export type Gate = {
  /** Replaces the listeners. A change of `publishedMs` closes a listener until the nodes have proven it again. */
  setListeners(listeners: PersistentMap<ListenerKey, GatedListener>): void;
  /**
   * Replaces the nodes. Listeners from before this process started are open at once on the first nodes, until those are
   * silent.
   */
  setNodes(nodes: ReadonlyMap<NodeName, readonly GatedAddress[]>): void;
  /** Whether packets of the listener may be sent to the node. */
  isOpen(listener: ListenerKey, node: NodeName): boolean;
  /** False: the kube-proxy of the node gave no usable answer to the last request. */
  isAnswering(node: NodeName): boolean;
  /** Calls `listener` after each change of `isOpen`, of listeners that are still there, or of `isAnswering`; returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
  /** Asks nodes while listeners wait for them, until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

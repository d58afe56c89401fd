import type { Family, Ip } from '../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../core/model/names.ts';
import type { PersistentMap } from '../core/persistent-map.ts';

/** A listener that nodes serve themselves. */
export type GatedListener = {
  readonly family: Family;
  /** Since when this host sees it published, monotonic ms; `undefined`: it is not published. */
  readonly publishedMs: number | undefined;
  /** It was published when this host saw it first, and perhaps long before. */
  readonly isFoundPublished: boolean;
  readonly widened: Widened | undefined;
};

/**
 * A listener of a Service that was changed to `externalTrafficPolicy: Cluster` at `atMs`, as this host saw it (monotonic): until the next
 * sync of its kube-proxy, a node drops the packets of the listener, unless it is one of `before`, which have endpoints.
 */
export type Widened = { readonly atMs: number; readonly before: ReadonlySet<NodeName> };

/** The nodes to which the packets of a listener are sent. */
export type OpenNodes = ReadonlyMap<ListenerKey, ReadonlySet<NodeName>>;

/** A node. `bootId`: of its kernel, if it is known. `isUp`: it is not silent in the family of the address. */
export type NodeToGate = {
  readonly bootId: string | undefined;
  readonly addresses: readonly { readonly address: Ip; readonly isUp: boolean }[];
};

/**
 * Lets packets of a listener through to a node only when the kube-proxy of the node is shown to serve it. A packet that
 * arrives earlier is routed back, and leaves a conntrack entry without NAT that captures all later packets of its flow.
 */
export type Gate = {
  /**
   * Called before the first listeners and nodes: an earlier process has shown that these nodes serve these listeners, and the
   * kernel sends packets there. They stay open, except on nodes that are silent.
   */
  resume(open: OpenNodes): void;
  /** Replaces the listeners. A change of `publishedMs` closes a listener until the nodes have proven it again. */
  setListeners(listeners: PersistentMap<ListenerKey, GatedListener>): void;
  /** Replaces the nodes. A node that was resumed with another boot ID has rebooted: it must prove again what it serves. */
  setNodes(nodes: ReadonlyMap<NodeName, NodeToGate>): void;
  /** Whether packets of the listener may be sent to the node. */
  isOpen(listener: ListenerKey, node: NodeName): boolean;
  /** False: the kube-proxy of the node gave no usable answer to the last request. */
  isAnswering(node: NodeName): boolean;
  /**
   * Calls `listener` after each change of `isOpen`, of listeners that are still there, or of `isAnswering`; returns a
   * function that ends the subscription. `opened`: no listener has been closed for a node.
   */
  subscribe(listener: (change?: 'opened') => void): () => void;
  /** Asks nodes while listeners wait for them, until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
};

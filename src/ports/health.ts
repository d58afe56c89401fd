import type { Family, Ip } from '../core/ip/ip.ts';
import type { NodeName } from '../core/model/names.ts';
import type { HostReport, NodeHealth } from '../core/traffic/report.ts';
import type { TrafficTable } from '../core/traffic/table.ts';

/** The verdict on each node, from all sources. Every dataplane follows it. */
export type Health = {
  /** By node; the same object while nothing changed. */
  verdicts(): HostReport['health'];
  /** Calls `listener` after each change of a verdict; returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
};

/** Verdicts that do not depend on a dataplane that checks nodes. */
export type NodeChecks = {
  /**
   * Until `signal` aborts: checks these nodes itself, each second, while the dataplane has reported no results for three seconds.
   * `undefined`: they are not known yet.
   */
  run(nodes: () => TrafficTable['nodes'] | undefined, signal: AbortSignal): Promise<void>;
};

/** The last result of a check of a node. `alive`: refused, or accepted without HTTP. */
export type CheckAnswer = 'ok' | 'unhealthy' | 'alive' | 'silent';

/** One node as the dataplane's checks see it; `answer` is `undefined` while it is not known. */
export type CheckedNode = { readonly isUp: boolean; readonly answer: CheckAnswer | undefined };

/** The orders to a dataplane that follow from a verdict. */
export type HealthOrders = {
  /** Nodes that have been silent for so long that their connections must be ended. */
  readonly dead: readonly NodeName[];
  /** Nodes that do not answer and get no new connections; without those that stay in use because no other node answers either. */
  readonly silent: ReadonlySet<NodeName>;
  /** While furiwake's own probe decides: nodes that get no new connections (true), or get them again. */
  readonly out: ReadonlyMap<NodeName, boolean>;
};

/** One round of a dataplane's checks of the nodes of one family. */
export type NodeFindings = {
  readonly nodes: ReadonlyMap<NodeName, Ip>;
  /** Those of `nodes` that get no new connections because of an administrator. */
  readonly draining: ReadonlySet<NodeName>;
  /** Removed nodes that still have connections. */
  readonly gone: ReadonlyMap<NodeName, Ip>;
  readonly checks: ReadonlyMap<NodeName, CheckedNode>;
};

/** The health of the nodes of one family, for the dataplane that checks them. */
export type FamilyHealth = {
  /** True while the dataplane's own checks decide, false while furiwake's own probe decides. */
  isChecked(): boolean;
  /**
   * Called before the dataplane gets a family's first nodes: does any node answer? The dataplane takes a new server out
   * of use at its first failed check.
   */
  survey(found: Pick<NodeFindings, 'nodes' | 'draining'>, signal: AbortSignal): Promise<void>;
  /** Called after a running process was taken over: whether its checks were enabled. */
  adopt(isChecked: boolean): void;
  /** Called after the process was replaced: the new one has not executed earlier orders. */
  forgetOrders(): void;
  /** Accepts the results of the checks, once a second. */
  round(found: NodeFindings, signal: AbortSignal): Promise<HealthOrders>;
  /** Monotonic ms: of the last change of `state`, and of the begin of the drain; `undefined`: not since the start. */
  stateOf(node: NodeName): {
    readonly state: NodeHealth;
    readonly sinceMs: number | undefined;
    readonly drainSinceMs: number | undefined;
  };
  /** Since when furiwake knows that the node is silent, monotonic ms; `undefined`: it is not. */
  silentSince(node: NodeName): number | undefined;
};

export type FamilyHealths = { readonly [F in Family]: FamilyHealth };

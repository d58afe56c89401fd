import type { Ip } from '../core/ip/ip.ts';
import type { NodeName } from '../core/model/names.ts';
import type { HostReport, NodeHealth } from '../core/traffic/report.ts';

/** The verdict on each node, from all sources. Every data plane follows it. */
export type Health = {
  /** By node; the same object while nothing changed. */
  verdicts(): HostReport['health'];
  /** Calls `listener` after each change of a verdict; returns the end of the subscription. */
  subscribe(listener: () => void): () => void;
};

/** What a check of a node last found. `alive`: refused, or accepted without HTTP. */
export type CheckAnswer = 'ok' | 'unhealthy' | 'alive' | 'silent';

/** One node as the data plane's checks see it; `answer` is `undefined` while it is not known. */
export type CheckedNode = { readonly isUp: boolean; readonly answer: CheckAnswer | undefined };

/** What a data plane must do for a verdict. */
export type HealthOrders = {
  /** Nodes that have been silent for so long that their connections must be ended. */
  readonly dead: readonly NodeName[];
  /** While furiwake's own probe decides: nodes that get no new connections (true), or get them again. */
  readonly out: ReadonlyMap<NodeName, boolean>;
};

/** The health of the nodes of one family, as the data plane sees it that checks them. */
export type FamilyHealth = {
  /** True while the data plane's own checks decide, false while furiwake's probe stands in. */
  isChecked(): boolean;
  /**
   * Before a family's first nodes are given to the data plane: does anything answer there? It takes a new server out at
   * its first failed check.
   */
  survey(nodes: ReadonlyMap<NodeName, Ip>, signal: AbortSignal): Promise<void>;
  /** After a running process was taken over: whether it was left with its checks on. */
  adopt(isChecked: boolean): void;
  /** The process is another one: it has not carried out the orders of before. */
  forgetOrders(): void;
  /** Takes in what the checks found, once a second. `gone`: nodes that are no longer wanted and still have connections. */
  round(
    findings: {
      readonly nodes: ReadonlyMap<NodeName, Ip>;
      readonly gone: ReadonlyMap<NodeName, Ip>;
      readonly checks: ReadonlyMap<NodeName, CheckedNode>;
    },
    signal: AbortSignal,
  ): Promise<HealthOrders>;
  stateOf(node: NodeName): { readonly state: NodeHealth; readonly sinceMs: number | undefined };
};

import type { Assignment } from '../addresses/assignment.ts';
import type { Ip } from '../ip/ip.ts';
import type { ListenerKey } from '../model/names.ts';
import type { Service } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import type { HostReport } from '../traffic/report.ts';
import type { Listeners } from '../traffic/table.ts';
import type { DirectTrouble } from './direct-trouble.ts';
import type { NodeTrouble } from './node-trouble.ts';
import type { PodFacts } from './pod-trouble.ts';

/** Everything that the status of a Service depends on. */
export type StatusInput = {
  readonly service: Service;
  readonly assignment: Assignment;
  /** The listeners that were published to the host. */
  readonly listeners: Listeners;
  /** The host's report on them. */
  readonly reports: HostReport['listeners'];
  readonly unconfirmed: HostReport['unconfirmed'];
  readonly nodeTrouble: NodeTrouble;
  /** The source ranges of the Service exceed the budget of the host. */
  readonly isOverBudget: boolean;
  /** The profile of the Service is one too many: the one in use that is most like it. */
  readonly nearestProfile: string | undefined;
  /** False if the Service has had no ready endpoint for some seconds; `undefined` while that is not known. */
  readonly hasEndpoints: boolean | undefined;
  /** The listeners that have had no ready endpoint for some seconds although the Service has some; `undefined` while that is not known. */
  readonly gaps: readonly ListenerKey[] | undefined;
  /**
   * Why the host drops packets of the Service or leaves them to HAProxy, because `direct` may send them to no node;
   * `briefly`: for some seconds only, as after each publication. `undefined`: it drops none.
   */
  readonly dropping: DirectTrouble | 'briefly' | undefined;
  /** Why `direct` sends no new flows to some of the nodes with endpoints of the Service. `undefined`: not known. */
  readonly unreached: DirectTrouble | undefined;
  readonly podFacts: PodFacts;
  readonly nowMs: number;
};

/** What one condition says. */
export type ConditionContent = { readonly isTrue: boolean; readonly verdict: Verdict };

/** A listener of this address cannot be served as wanted. */
export type Failure = { readonly ip: Ip; readonly verdict: Verdict };

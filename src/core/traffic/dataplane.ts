import { dataplaneAnnotation } from '../model/contract.ts';
import type { Protocol, ServicePort, ServiceSpec } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';

/** What carries the packets of a listener. */
export const dataplanes = ['haproxy', 'direct', 'nat'] as const;
export type Dataplane = (typeof dataplanes)[number];

type Request = Pick<ServiceSpec, 'dataplane'>;

/** The dataplane that the annotation requests; `undefined` without a valid one. */
export function requestedDataplane({ dataplane }: Request): Dataplane | undefined {
  return dataplanes.find((name) => name === dataplane);
}

/** Request × protocol → dataplane: HAProxy serves TCP only, and `direct` no SCTP. `nat` serves what they cannot. */
const choices: Readonly<Record<Dataplane | 'none', Readonly<Record<Protocol, Dataplane>>>> = {
  none: { TCP: 'haproxy', UDP: 'nat', SCTP: 'nat' },
  haproxy: { TCP: 'haproxy', UDP: 'nat', SCTP: 'nat' },
  direct: { TCP: 'direct', UDP: 'direct', SCTP: 'nat' },
  nat: { TCP: 'nat', UDP: 'nat', SCTP: 'nat' },
};

/** Decides which dataplane serves a port of the Service, or why none does: only `direct` does without a nodePort. */
export function chooseDataplane(request: Request, { protocol, port, nodePort }: ServicePort): Dataplane | Verdict {
  const choice = choices[requestedDataplane(request) ?? 'none'][protocol];
  if (choice === 'direct' || nodePort !== 0) return choice;
  const remedy =
    choices.direct[protocol] === 'direct'
      ? `only with the annotation ${dataplaneAnnotation}: direct`
      : 'by no dataplane';
  return {
    reason: 'NodePortMissing',
    message: `${protocol} port ${port} has no nodePort (spec.allocateLoadBalancerNodePorts is false): without one it is served ${remedy}`,
  };
}

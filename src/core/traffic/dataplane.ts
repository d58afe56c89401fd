import { dataplaneAnnotation } from '../model/contract.ts';
import type { Protocol, ServicePort, ServiceSpec } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';

/** What carries the packets of a listener. */
export const dataplanes = ['haproxy', 'direct'] as const;
export type Dataplane = (typeof dataplanes)[number];

type Request = Pick<ServiceSpec, 'dataplane'>;

/** The dataplane that the annotation requests; `undefined` without a valid one. */
export function requestedDataplane({ dataplane }: Request): Dataplane | undefined {
  return dataplanes.find((name) => name === dataplane);
}

const useDirect = `is served only with the annotation ${dataplaneAnnotation}: direct`;
const notYet = 'is not served: furiwake does not support SCTP yet';

/** Request × protocol → dataplane, or why the port is not served. */
const choices: Readonly<Record<Dataplane | 'none', Readonly<Record<Protocol, Dataplane | { readonly why: string }>>>> =
  {
    none: { TCP: 'haproxy', UDP: { why: useDirect }, SCTP: { why: notYet } },
    haproxy: { TCP: 'haproxy', UDP: { why: useDirect }, SCTP: { why: notYet } },
    direct: { TCP: 'direct', UDP: 'direct', SCTP: { why: notYet } },
  };

/** Decides which dataplane serves a port of the Service, or why none does. HAProxy needs a nodePort, `direct` does not. */
export function chooseDataplane(request: Request, { protocol, port, nodePort }: ServicePort): Dataplane | Verdict {
  const choice = choices[requestedDataplane(request) ?? 'none'][protocol];
  if (typeof choice === 'object')
    return { reason: 'UnsupportedProtocol', message: `${protocol} port ${port} ${choice.why}` };
  if (choice === 'direct' || nodePort !== 0) return choice;
  return {
    reason: 'NodePortMissing',
    message: `port ${port} has no nodePort (spec.allocateLoadBalancerNodePorts is false): without one it ${useDirect}`,
  };
}

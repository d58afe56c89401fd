import { dataplaneAnnotation, optionPrefix } from '../model/contract.ts';
import type { Protocol, ServicePort, ServiceSpec } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import { needsHaproxy } from './decode-options.ts';

/** What carries the packets of a listener. */
export const dataplanes = ['haproxy', 'direct', 'nat'] as const;
export type Dataplane = (typeof dataplanes)[number];

type Request = Pick<ServiceSpec, 'dataplane' | 'options' | 'ports'>;

/** The dataplane that the annotation requests; `undefined` without a valid one. */
export function requestedDataplane({ dataplane }: Pick<Request, 'dataplane'>): Dataplane | undefined {
  return dataplanes.find((name) => name === dataplane);
}

/** Request × protocol → dataplane: HAProxy serves TCP only, and `direct` no SCTP. `nat` serves what they cannot. */
const choices: Readonly<Record<Dataplane | 'none', Readonly<Record<Protocol, Dataplane>>>> = {
  none: { TCP: 'haproxy', UDP: 'nat', SCTP: 'nat' },
  haproxy: { TCP: 'haproxy', UDP: 'nat', SCTP: 'nat' },
  direct: { TCP: 'direct', UDP: 'direct', SCTP: 'nat' },
  nat: { TCP: 'nat', UDP: 'nat', SCTP: 'nat' },
};

/**
 * Decides which dataplane serves a port of the Service, or why none does: only `direct` does without a nodePort, and only
 * HAProxy sends a PROXY protocol header, without which the server would take the client's first bytes for one.
 */
export function chooseDataplane(request: Request, servicePort: ServicePort): Dataplane | Verdict {
  const { protocol, port, nodePort } = servicePort;
  const choice = choices[requestedDataplane(request) ?? 'none'][protocol];
  if (choice !== 'haproxy' && needsHaproxy(request, servicePort))
    return {
      reason: 'HaproxyRequired',
      message: `TCP port ${port} asks for the PROXY protocol, which ${choice} does not have: remove one of the annotations ${optionPrefix}proxy-protocol and ${dataplaneAnnotation}`,
    };
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

import type { DesiredStatus } from '../core/status/desired.ts';
import type { Ingress } from '../core/model/service.ts';

/**
 * The part of a core/v1 ServiceStatus that furiwake applies. Both lists are always present: an empty one clears the
 * field.
 */
export type ServiceStatusWire = {
  readonly loadBalancer: { readonly ingress: readonly object[] };
  readonly conditions: readonly object[];
};

export function statusToWire({ ingress, conditions }: DesiredStatus): ServiceStatusWire {
  return { loadBalancer: { ingress: ingress.map(ingressToWire) }, conditions };
}

function ingressToWire({ ip, hostname, ipMode, ports }: Ingress): object {
  return {
    ...(ip === undefined ? {} : { ip }),
    ...(hostname === undefined ? {} : { hostname }),
    ...(ipMode === undefined ? {} : { ipMode }),
    ports,
  };
}

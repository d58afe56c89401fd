import type { ServicePort, ServiceSpec } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';

/** The ports of a Service that can be served, and why each of the others cannot. */
export type PortDecision = {
  readonly servable: readonly ServicePort[];
  readonly refused: readonly (Verdict & { readonly port: ServicePort })[];
};

/** Decides by the spec alone: TCP only, and through NodePorts only. */
export function decidePorts(spec: ServiceSpec): PortDecision {
  const servable: ServicePort[] = [];
  const refused: (Verdict & { port: ServicePort })[] = [];
  for (const port of spec.ports) {
    if (port.protocol !== 'TCP') {
      refused.push({
        port,
        reason: 'UnsupportedProtocol',
        message: `${port.protocol} port ${port.port} is not served: only TCP is`,
      });
    } else if (port.nodePort === 0) {
      refused.push({
        port,
        reason: 'NodePortMissing',
        message: `port ${port.port} has no nodePort (spec.allocateLoadBalancerNodePorts is false)`,
      });
    } else servable.push(port);
  }
  return { servable, refused };
}

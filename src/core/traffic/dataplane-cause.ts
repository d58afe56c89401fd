import type { ServiceSpec } from '../model/service.ts';
import { isLocal, needsDirect, requestedDataplane } from './dataplane.ts';
import { asksForHaproxy } from './port-options.ts';
import type { Listener } from './table.ts';

type CauseOfListener = Pick<Listener, 'dataplane' | 'protocol' | 'port' | 'isHostAddress' | 'isDraining'>;

/** Why the listener has its dataplane (`decideDataplane`), in a few words. */
export function dataplaneCause(
  spec: ServiceSpec,
  { dataplane, protocol, port, isHostAddress, isDraining }: CauseOfListener,
): string {
  const requested = requestedDataplane(spec);
  if (requested === dataplane) return 'requested';
  const hasNodePort = spec.ports.some(
    (each) => each.port === port && each.protocol === protocol && each.nodePort !== 0,
  );
  if (dataplane === 'direct') {
    if (!hasNodePort) return 'no nodePort';
    return needsDirect(spec) ? (isLocal(spec) ? 'Local' : 'affinity') : 'as before';
  }
  if (requested === 'direct') return 'drained';
  if (requested !== undefined || (hasNodePort && !needsDirect(spec))) return protocol;
  // What keeps the Service from `direct`.
  if (asksForHaproxy(spec)) return 'annotations for HAProxy';
  if (spec.backends === 'pods') return 'Pods as servers';
  if (isHostAddress) return 'own address of the host';
  return isDraining ? 'drained' : 'no node on a LAN of the host';
}

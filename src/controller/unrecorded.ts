import type { AssignedAddress, Assignment, PortRefusal } from '../core/addresses/assignment.ts';
import type { ServiceKey, ServiceUid } from '../core/model/names.ts';
import { isSamePort, type Service, type ServicePort } from '../core/model/service.ts';
import type { AddressDecision } from './planner.ts';

/**
 * The assignments as far as they are recorded. A Service whose record could not be written (`unrecorded`: by UID, and why)
 * keeps the listeners that it had before or, if this process has not planned for it yet, the address that its status shows.
 * Any other has nothing and says why.
 */
export function withUnrecorded(
  { ours, assignments }: AddressDecision,
  before: AddressDecision | undefined,
  unrecorded: ReadonlyMap<ServiceUid, string>,
): AddressDecision['assignments'] {
  if (unrecorded.size === 0) return assignments;
  const changes: [ServiceKey, Assignment][] = [];
  for (const service of ours.values()) {
    const why = unrecorded.get(service.uid);
    const planned = assignments.get(service.key);
    if (why === undefined || planned === undefined) continue;
    const old = before?.services.get(service.key);
    const had = old?.uid === service.uid ? before?.assignments.get(service.key) : undefined;
    if (had !== undefined)
      changes.push([service.key, old?.spec === service.spec ? had : kept(service, had, planned, why)]);
    else if (!isShown(planned, service)) changes.push([service.key, nothing(planned, why)]);
  }
  return assignments.with(changes);
}

/** The listeners of `had` that the changed spec still has, with its nodePorts. */
function kept({ spec }: Service, had: Assignment, planned: Assignment, why: string): Assignment {
  const servable = spec.ports.filter((port) => !planned.refused.some((refusal) => isSamePort(refusal.port, port)));
  const addresses = had.addresses.map(({ ip, isHostAddress, served }): AssignedAddress => {
    const wasServed = (port: ServicePort): boolean => served.some((old) => isSamePort(old, port));
    const unserved = servable
      .filter((port) => !wasServed(port))
      .map((port): PortRefusal => {
        return {
          port,
          reason: 'NotRecorded',
          message: `port ${port.port} of ${ip.text} could not be recorded: ${why}`,
        };
      });
    return { ip, isHostAddress, served: servable.filter(wasServed), unserved };
  });
  return { ...planned, addresses, verdict: had.verdict };
}

function nothing(planned: Assignment, why: string): Assignment {
  return {
    ...planned,
    addresses: [],
    verdict: { reason: 'NotRecorded', message: `the address could not be recorded: ${why}` },
  };
}

function isShown({ addresses }: Assignment, { status }: Service): boolean {
  return addresses.length > 0 && addresses.every(({ ip }) => status.ingress.some((shown) => shown.ip === ip.text));
}

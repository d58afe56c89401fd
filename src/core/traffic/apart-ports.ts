import { families, type Family } from '../ip/ip.ts';
import type { BackendId, ServiceKey } from '../model/names.ts';
import type { Service, ServicePort } from '../model/service.ts';
import { PersistentMap } from '../persistent-map.ts';
import { isLocal } from './dataplane.ts';
import type { EndpointGroup } from './pods.ts';
import { localBackend } from './table.ts';

type PortName = Pick<ServicePort, 'name' | 'protocol'>;

/** Whether the endpoints of an EndpointSlice serve the port. */
export function hasPort({ ports }: EndpointGroup, { name, protocol }: PortName): boolean {
  return ports.some((port) => port.name === name && port.protocol === protocol);
}

/**
 * Whether only some of the endpoints of a family serve the port: Pods without that named port, or EndpointSlices by hand. kube-proxy
 * then counts only these, and drops the packets of the port on all other nodes. A port that no endpoint serves is not known yet: it was
 * renamed, and the EndpointSlices follow.
 */
function isApart(family: Family, port: PortName, groups: readonly EndpointGroup[]): boolean {
  const used = groups.filter((group) => group.family === family && group.nodes.length > 0);
  const serving = used.filter((group) => hasPort(group, port));
  return serving.length > 0 && serving.length < used.length;
}

/** The backend of a port that is apart. */
export function apartBackend(
  family: Family,
  service: ServiceKey,
  { port, protocol }: Pick<ServicePort, 'port' | 'protocol'>,
): BackendId {
  return `${localBackend(family, service)}:${port}/${protocol}` as BackendId;
}

/** The backend of a port of a Service with `externalTrafficPolicy: Local`: its own if it is apart, else that of the Service. */
export function localBackendOf(
  family: Family,
  service: ServiceKey,
  port: ServicePort,
  groups: readonly EndpointGroup[],
): BackendId {
  return isApart(family, port, groups) ? apartBackend(family, service, port) : localBackend(family, service);
}

type Endpoints = PersistentMap<ServiceKey, readonly EndpointGroup[]>;

/** The Services with `externalTrafficPolicy: Local` of which other ports are apart than before. `undefined`: not known. */
export function changedApart(
  services: PersistentMap<ServiceKey, Service>,
  before: Endpoints | undefined,
  now: Endpoints | undefined,
): ReadonlySet<ServiceKey> {
  if (now === undefined || before === now) return new Set();
  const earlier: Endpoints = before ?? PersistentMap.empty();
  const isChanged = (key: ServiceKey): boolean => {
    const spec = services.get(key)?.spec;
    if (spec === undefined || !isLocal(spec)) return false;
    return apartText(spec, earlier.get(key)) !== apartText(spec, now.get(key));
  };
  return new Set(PersistentMap.changedKeys(earlier, now).filter(isChanged));
}

function apartText({ ports }: Service['spec'], groups: readonly EndpointGroup[] = []): string {
  if (groups.length < 2) return '';
  const apart = families.flatMap((family) =>
    ports.filter((port) => isApart(family, port, groups)).map(({ port, protocol }) => `${family} ${port} ${protocol}`),
  );
  return apart.join();
}

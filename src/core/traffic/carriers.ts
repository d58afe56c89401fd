import type { Assignment } from '../addresses/assignment.ts';
import { conditionTypes, fieldManager, ownFinalizer } from '../model/contract.ts';
import type { Family } from '../ip/ip.ts';
import type { BackendId, ServiceKey } from '../model/names.ts';
import type { Service, ServicePort } from '../model/service.ts';
import type { PersistentMap } from '../persistent-map.ts';
import { localBackendOf } from './apart-ports.ts';
import { decideDataplane, hasPodServers, isLocal, requestedDataplane } from './dataplane.ts';
import { hostBackend, planHostPods } from './host-pods.ts';
import type { ServiceEndpoints } from './local.ts';
import { choosePods, needsNodePorts, type PodPlace } from './pods.ts';
import { optionsOfPort } from './port-options.ts';
import type { ProfileExcess } from './profile-budget.ts';
import { needsFewerServers, type ServerExcesses, withinExcess } from './server-budget.ts';
import { servedFamilies, planSourceRanges } from './source-ranges.ts';
import { type Listener, nodesBackend, podBackend, type PodBackend } from './table.ts';
import { makeListener } from './make-listener.ts';

/**
 * The listeners of a Service, and the Pods that serve them, or the connections of the host itself to them; without those while the
 * endpoints are not known.
 */
export type Carriers = {
  readonly listeners: readonly Listener[];
  readonly pods: readonly (readonly [BackendId, PodBackend])[];
};

/** What the carriers of a Service depend on beside the Service and its addresses. */
export type CarrierFacts = {
  /** Services whose source ranges exceed the budget of the host (`makeRangeBudget`): closed to all clients. */
  readonly overBudget: ReadonlySet<ServiceKey>;
  /** Services with the usual profile, because theirs is one too many (`makeProfileBudget`). */
  readonly overProfiles: ProfileExcess;
  /** Services that ask for more Pods as servers than they get (`makeServerBudget`). */
  readonly overServers: ServerExcesses;
  /** The families in which the host can reach nodes on a LAN. */
  readonly onLink: ReadonlySet<Family>;
  /** Services that an administrator drains (`furiwake drain NS/NAME`), as far as HAProxy serves them. */
  readonly drainedServices: ReadonlySet<ServiceKey>;
  /** `undefined`: not known yet. The table then has only the backends of all nodes. */
  readonly endpoints: PersistentMap<ServiceKey, ServiceEndpoints> | undefined;
  readonly podPlace: PodPlace;
};

export function planCarriers(
  service: Service,
  assignment: Assignment,
  { overBudget, overProfiles, overServers, onLink, drainedServices, endpoints, podPlace }: CarrierFacts,
): Carriers {
  const { key, uid, spec } = service;
  const vips = publishedVips(service);
  const { ranges } = planSourceRanges(spec.sourceRanges, servedFamilies(assignment), overBudget.has(key));
  const pods: [BackendId, PodBackend][] = [];
  const groups = endpoints?.get(key) ?? [];
  const nodes = (family: Family, port: ServicePort): BackendId =>
    isLocal(spec) ? localBackendOf(family, key, port, groups) : nodesBackend(family);
  const backendOf = (family: Family, port: ServicePort): BackendId => {
    if (!hasPodServers(spec, port)) return nodes(family, port);
    const id = podBackend(family, key, port.port);
    if (endpoints === undefined) return id;
    const excess = overServers.get(key);
    if (needsFewerServers(excess, port)) return nodes(family, port);
    const chosen = choosePods(family, port, groups, podPlace);
    if (needsNodePorts(chosen, port)) return nodes(family, port);
    pods.push([id, { family, pods: withinExcess(chosen.pods, spec, excess) }]);
    return id;
  };
  const isDrained = drainedServices.has(key);
  const listeners = assignment.addresses.flatMap(({ ip, isHostAddress, served }) =>
    served.flatMap((port) => {
      const isVip = vips.includes(ip.text);
      // `direct` would take new connections; a port without a nodePort has nothing else.
      const isLeaving = isDrained && port.nodePort !== 0;
      const asked = isLeaving && spec.dataplane === 'direct' ? { ...spec, dataplane: undefined } : spec;
      const carriage = decideDataplane(asked, port, {
        isDrained: isLeaving,
        isHostAddress,
        hasNextHop: onLink.has(ip.family),
        isPublished: isVip,
      });
      if ('reason' in carriage) return []; // no assignment has such a port
      const isDirect = carriage.dataplane === 'direct';
      const isAffine = carriage.dataplane !== 'haproxy' && spec.sessionAffinity === 'ClientIP';
      const listener = makeListener({
        address: ip,
        protocol: port.protocol,
        port: port.port,
        service: key,
        uid,
        ...carriage,
        isPublished: isDirect && isVip,
        isAffine,
        affinitySeconds: isAffine ? spec.affinitySeconds : 0,
        backend: backendOf(ip.family, port),
        targetPort: isDirect && carriage.standIn === undefined ? 0 : port.nodePort,
        options: carriage.dataplane === 'haproxy' ? optionsOfPort(spec, port, overProfiles.has(key)) : undefined,
        sourceRanges: ranges?.filter((range) => range.family === ip.family),
        isDraining: isDrained,
        isHostAddress,
      });
      const id = hostBackend(listener);
      if (id !== undefined && endpoints !== undefined) pods.push([id, planHostPods(ip.family, port, groups, podPlace)]);
      return listener;
    }),
  );
  return { listeners, pods };
}

/**
 * The addresses that kube-proxy knows, by the status; only of a Service that `direct` serves or may serve. Kubernetes completes
 * a status without `ipMode` with VIP: without a request only furiwake's own says that nodes serve the address for it.
 */
export function publishedVips({ spec, status }: Service): readonly string[] {
  const requested = requestedDataplane(spec);
  const isAutomatic = requested === undefined && status.ingressManager === fieldManager;
  if (requested !== 'direct' && !isAutomatic) return [];
  return status.ingress.flatMap(({ ip, ipMode }) => (ipMode === 'VIP' ? (ip ?? []) : []));
}

/**
 * Our condition is written after our finalizer, so it shows that the finalizer was there. If another client removed it, it
 * is being restored, and the traffic does not stop for that.
 */
export function hasHadFinalizer({ finalizers, status }: Service): boolean {
  return (
    finalizers.includes(ownFinalizer) ||
    status.conditions.some((each) => each.type === conditionTypes.addressAssigned && each.status === 'True')
  );
}

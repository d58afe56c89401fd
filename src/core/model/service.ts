import type { Family } from '../ip/ip.ts';
import type { ServiceKey, ServiceUid } from './names.ts';

export type Protocol = 'TCP' | 'UDP' | 'SCTP';

/** One entry of `spec.ports`; `nodePort` is 0 where Kubernetes allocated none (KEP-1864). */
export type ServicePort = {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
  readonly nodePort: number;
};

/** Older Services first: by creation time, then by UID. */
export function compareAge(a: Pick<Service, 'createdAtMs' | 'uid'>, b: Pick<Service, 'createdAtMs' | 'uid'>): number {
  return a.createdAtMs - b.createdAtMs || (a.uid < b.uid ? -1 : 1);
}

/** What is known of Services, in the order of their age; without those that are gone. */
export function byAge<T>(
  known: ReadonlyMap<ServiceKey, T>,
  services: ReadonlyMap<ServiceKey, Pick<Service, 'createdAtMs' | 'uid'>>,
): readonly (readonly [ServiceKey, T])[] {
  const all = [...known].flatMap(([key, each]) => {
    const service = services.get(key);
    return service === undefined ? [] : [{ key, each, service }];
  });
  all.sort((a, b) => compareAge(a.service, b.service));
  return all.map(({ key, each }) => [key, each]);
}

/** True when both are the same port of a Service, whatever its name and nodePort. */
export function isSamePort(a: ServicePort, b: ServicePort): boolean {
  return a.port === b.port && a.protocol === b.protocol;
}

/** Name and value. */
export type Annotation = readonly [name: string, text: string];

/** `site`: not of the Service, but a default of the site. */
export type OptionAnnotation = readonly [name: string, text: string, origin?: 'site'];

/** The parts of a user's spec that furiwake uses. Texts are not validated: core decodes them. */
export type ServiceSpec = {
  readonly type: string;
  readonly loadBalancerClass: string | undefined;
  /** An annotation asks load balancers to leave the Service alone. */
  readonly wantsNone: boolean;
  readonly ipFamilies: readonly Family[];
  readonly requireDualStack: boolean;
  readonly ports: readonly ServicePort[];
  /** `spec.loadBalancerIP`, as written. */
  readonly loadBalancerIp: string | undefined;
  /** Annotations that request addresses, as written. */
  readonly addressAnnotations: readonly Annotation[];
  /** Annotations that request a pool by its name, as written. */
  readonly poolAnnotations: readonly Annotation[];
  /** The first sharing key that is not empty: Services of different namespaces with the same one may share an address. */
  readonly sharingKey: string | undefined;
  /** The annotation that requests a dataplane, as written. */
  readonly dataplane: string | undefined;
  /**
   * The other annotations of furiwake, known or not, as written: what only HAProxy does. With the defaults of the site,
   * in the order of their names.
   */
  readonly options: readonly OptionAnnotation[];
  /** The annotation that requests Pods as servers, as written. */
  readonly backends: string | undefined;
  /** Names of annotations that ask for a feature that furiwake does not have. */
  readonly ignoredAnnotations: readonly string[];
  /** `spec.loadBalancerSourceRanges`, else the list of the old annotation, as written. Empty: open to all. */
  readonly sourceRanges: readonly string[];
  /** `None` or `ClientIP`. */
  readonly sessionAffinity: string;
  /** Of `sessionAffinity: ClientIP`: how long after its last connection a client is remembered. */
  readonly affinitySeconds: number;
  /** `Cluster` or `Local`. */
  readonly externalTrafficPolicy: string;
  /** 0 where Kubernetes allocated none: only for `externalTrafficPolicy: Local`. */
  readonly healthCheckNodePort: number;
};

/** One entry of `status.loadBalancer.ingress`. */
export type Ingress = {
  readonly ip: string | undefined;
  readonly hostname: string | undefined;
  readonly ipMode: string | undefined;
  readonly ports: readonly PortStatus[];
};

/** One entry of `ingress[].ports` (core/v1 PortStatus); `error` is CamelCase or `prefix/CamelCase`. */
export type PortStatus = { readonly port: number; readonly protocol: string; readonly error?: string };

/** One of our own conditions, or the standard `LoadBalancerPortsError` (metav1.Condition). */
export type Condition = {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  /** RFC 3339, seconds. */
  readonly lastTransitionTime: string;
};

export type ServiceStatus = {
  readonly ingress: readonly Ingress[];
  /** Only the condition types that we write, sorted by type. */
  readonly conditions: readonly Condition[];
  /** The field manager that owns `status.loadBalancer.ingress`, from managedFields. */
  readonly ingressManager: string | undefined;
};

/** A Service, reduced to the fields that furiwake uses. Unchanged parts keep their identity from event to event. */
export type Service = {
  readonly key: ServiceKey;
  readonly namespace: string;
  readonly name: string;
  readonly uid: ServiceUid;
  /** `metadata.creationTimestamp`, ms since the epoch. */
  readonly createdAtMs: number;
  /** `metadata.deletionTimestamp` is set. */
  readonly isDeleting: boolean;
  readonly finalizers: readonly string[];
  readonly spec: ServiceSpec;
  readonly status: ServiceStatus;
};

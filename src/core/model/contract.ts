/** Names in the Kubernetes API: finalizers, conditions, annotations, field managers (docs/architecture.md). */

/** The finalizer that counts: a cloud controller removes the standard one without regard to the class. */
export const ownFinalizer = 'furiwake.dev/cleanup';
/** KEP-980. Users and the upstream tests expect it. */
export const standardFinalizer = 'service.kubernetes.io/load-balancer-cleanup';
export const ourFinalizers: readonly string[] = [ownFinalizer, standardFinalizer];

export const conditionTypes = {
  addressAssigned: 'furiwake.dev/AddressAssigned',
  serving: 'furiwake.dev/Serving',
  /** core/v1 `LoadBalancerPortsError`. */
  portsError: 'LoadBalancerPortsError',
} as const;
export const ourConditionTypes: ReadonlySet<string> = new Set(Object.values(conditionTypes));

/** Field manager of every write. */
export const fieldManager = 'furiwake';
/** Prefix of `ports[].error`. */
export const reasonPrefix = 'furiwake.dev/';

/** Annotations that request addresses: our own, and those of other implementations, which mean the same. */
export const addressesAnnotations: readonly string[] = [
  'furiwake.dev/addresses',
  'metallb.io/loadBalancerIPs',
  'metallb.universe.tf/loadBalancerIPs',
  'kube-vip.io/loadbalancerIPs',
  'purelb.io/addresses',
  'lbipam.cilium.io/ips',
  'io.cilium/lb-ipam-ips',
  'loxilb.io/staticIP',
  'eip.openelb.kubesphere.io/v1alpha1',
];
/** Annotations with a key: Services of different namespaces share an address only if they have the same key. */
export const sharingKeyAnnotations: readonly string[] = [
  'furiwake.dev/sharing-key',
  'metallb.io/allow-shared-ip',
  'metallb.universe.tf/allow-shared-ip',
  'purelb.io/allow-shared-ip',
];
/** Cilium's key, which permits only the namespaces of the second annotation: a list with commas, or `*` for all. */
export const ciliumSharingKey: readonly string[] = ['lbipam.cilium.io/sharing-key', 'io.cilium/lb-ipam-sharing-key'];
export const ciliumSharingNamespaces: readonly string[] = [
  'lbipam.cilium.io/sharing-cross-namespace',
  'io.cilium/lb-ipam-sharing-cross-namespace',
];
/** Annotations that request an address of a pool by its name: our own, and those of other implementations. */
export const poolAnnotations: readonly string[] = [
  'furiwake.dev/pool',
  'metallb.io/address-pool',
  'metallb.universe.tf/address-pool',
  'purelb.io/service-group',
  'eip.openelb.kubesphere.io/v1alpha2',
  'loxilb.io/poolSelect',
];
/** Annotations that request further addresses: furiwake ignores them and says so. */
export const ignoredAnnotations: readonly string[] = ['loxilb.io/poolSelectSecondary', 'loxilb.io/secondaryIPs'];
/** With the value `true`: no load balancer that serves Services without a class should take the Service. */
export const ignoreAnnotation = 'kube-vip.io/ignore';
/** Requests a dataplane by name. */
export const dataplaneAnnotation = 'furiwake.dev/dataplane';
/** Prefix of the annotations about what only HAProxy does (`decodeProxyOptions`), and of all others of furiwake. */
export const optionPrefix = 'furiwake.dev/';
/** With the value `pods`: HAProxy connects to the endpoints of the Service, and not to NodePorts. */
export const backendsAnnotation = 'furiwake.dev/backends';
export const sourceRangesAnnotation = 'service.beta.kubernetes.io/load-balancer-source-ranges';

export const excludeNodeLabel = 'node.kubernetes.io/exclude-from-external-load-balancers';
export const autoscalerTaint = 'ToBeDeletedByClusterAutoscaler';

export const defaultLoadBalancerClass = 'furiwake.dev/haproxy';

/** kube-proxy's health port (`--healthz-bind-address`), whose HTTP status says whether the node accepts traffic. */
export const kubeProxyHealthPort = 10256;

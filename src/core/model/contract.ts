/** Names that others see: finalizers, conditions, annotations, managers (docs/architecture.md, Kubernetes API). */

/** Ours, the authority: any cloud controller strips the standard one without looking at the class. */
export const ownFinalizer = 'furiwake.dev/cleanup';
/** KEP-980; users and the upstream tests expect it. */
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

export const addressesAnnotation = 'furiwake.dev/addresses';
export const sourceRangesAnnotation = 'service.beta.kubernetes.io/load-balancer-source-ranges';

export const excludeNodeLabel = 'node.kubernetes.io/exclude-from-external-load-balancers';
export const autoscalerTaint = 'ToBeDeletedByClusterAutoscaler';

export const defaultLoadBalancerClass = 'furiwake.dev/haproxy';

/** kube-proxy's health port (`--healthz-bind-address`), which says by HTTP status whether a node wants traffic. */
export const kubeProxyHealthPort = 10256;

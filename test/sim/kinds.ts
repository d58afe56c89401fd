/** An object in the simulated server: plain JSON. */
export type SimObject = {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: SimMeta;
  readonly spec?: Fields;
  readonly status?: Fields;
  readonly [field: string]: unknown;
};

export type Fields = Readonly<Record<string, unknown>>;

export type SimMeta = {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly managedFields?: readonly unknown[];
};

/** A kind that the simulated server knows. */
export type SimKind = {
  readonly kind: string;
  readonly apiVersion: string;
  readonly plural: string;
  readonly isNamespaced: boolean;
  /** Status is written through `/status` only. */
  readonly hasStatus: boolean;
};

export const simKinds: readonly SimKind[] = [
  { kind: 'Service', apiVersion: 'v1', plural: 'services', isNamespaced: true, hasStatus: true },
  { kind: 'Node', apiVersion: 'v1', plural: 'nodes', isNamespaced: false, hasStatus: true },
  { kind: 'Namespace', apiVersion: 'v1', plural: 'namespaces', isNamespaced: false, hasStatus: true },
  {
    kind: 'EndpointSlice',
    apiVersion: 'discovery.k8s.io/v1',
    plural: 'endpointslices',
    isNamespaced: true,
    hasStatus: false,
  },
  { kind: 'Lease', apiVersion: 'coordination.k8s.io/v1', plural: 'leases', isNamespaced: true, hasStatus: false },
  { kind: 'Event', apiVersion: 'events.k8s.io/v1', plural: 'events', isNamespaced: true, hasStatus: false },
  {
    kind: 'ServiceCIDR',
    apiVersion: 'networking.k8s.io/v1',
    plural: 'servicecidrs',
    isNamespaced: false,
    hasStatus: true,
  },
];

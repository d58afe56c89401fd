declare const brand: unique symbol;
export type Brand<Name extends string> = string & { readonly [brand]: Name };

/** `namespace/name` of a Service. */
export type ServiceKey = Brand<'ServiceKey'>;
/** `metadata.uid` of a Service: a new object with an old name has a new UID. */
export type ServiceUid = Brand<'ServiceUid'>;
/** `metadata.name` of a Node (DNS-1123 subdomain). */
export type NodeName = Brand<'NodeName'>;
/** `address|port|protocol` of a listener. */
export type ListenerKey = Brand<'ListenerKey'>;
/** Name of a backend: `nodes4`, `nodes6`, `local4:namespace/name`, `pods4:namespace/name:80`. */
export type BackendId = Brand<'BackendId'>;

export function serviceKey(namespace: string, name: string): ServiceKey {
  return [namespace, name].join('/') as ServiceKey; // kept: docs/adr/0021
}

import { serviceKey, type ServiceKey } from '../core/model/names.ts';
import { fieldsOf, type Json, listOf, textOf } from './wire.ts';

/** The fields of a discovery.k8s.io/v1 EndpointSlice that are kept. */
export type EndpointSlice = {
  readonly key: string;
  /** The Service that it belongs to; `undefined` if the label is missing. */
  readonly service: ServiceKey | undefined;
  /**
   * Endpoints that may get new connections: `conditions.ready` is true or not set, or the endpoint still serves while
   * it terminates, because kube-proxy uses those if no other is ready (KEP-1672, KEP-1669).
   */
  readonly ready: number;
};

const serviceLabel = 'kubernetes.io/service-name';

/** Projects an EndpointSlice to the fields that are kept. Total: never throws. */
export function projectEndpointSlice(wire: Json): EndpointSlice {
  const object = fieldsOf(wire);
  const metadata = fieldsOf(object['metadata']);
  const [namespace, name] = [textOf(metadata['namespace']), textOf(metadata['name'])];
  const service = textOf(fieldsOf(metadata['labels'])[serviceLabel]);
  return {
    key: `${namespace}/${name}`,
    service: service === '' ? undefined : serviceKey(namespace, service),
    ready: listOf(object['endpoints']).filter(mayGetConnections).length,
  };
}

function mayGetConnections(endpoint: Json): boolean {
  const { ready, serving } = fieldsOf(fieldsOf(endpoint)['conditions']);
  return ready !== false || serving === true;
}

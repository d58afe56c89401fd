import { serviceKey, type ServiceKey } from '../core/model/names.ts';
import { fieldsOf, type Json, listOf, textOf } from './wire.ts';

/** A discovery.k8s.io/v1 EndpointSlice, as far as it is kept. */
export type EndpointSlice = {
  readonly key: string;
  /** The Service that it belongs to; `undefined` for one without the label. */
  readonly service: ServiceKey | undefined;
  /** Endpoints that take new connections: `conditions.ready` is true or not given (KEP-1672). */
  readonly ready: number;
};

const serviceLabel = 'kubernetes.io/service-name';

/** An EndpointSlice as it comes over the wire → what is kept of it. Total: never throws. */
export function projectEndpointSlice(wire: Json): EndpointSlice {
  const object = fieldsOf(wire);
  const metadata = fieldsOf(object['metadata']);
  const [namespace, name] = [textOf(metadata['namespace']), textOf(metadata['name'])];
  const service = textOf(fieldsOf(metadata['labels'])[serviceLabel]);
  const endpoints = listOf(object['endpoints']);
  return {
    key: `${namespace}/${name}`,
    service: service === '' ? undefined : serviceKey(namespace, service),
    ready: endpoints.filter((endpoint) => fieldsOf(fieldsOf(endpoint)['conditions'])['ready'] !== false).length,
  };
}

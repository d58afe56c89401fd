import type { Family } from '../core/ip/ip.ts';
import {
  addressesAnnotations,
  backendsAnnotation,
  ciliumSharingKey,
  ciliumSharingNamespaces,
  dataplaneAnnotation,
  ignoreAnnotation,
  ignoredAnnotations,
  optionPrefix,
  ourConditionTypes,
  ourFinalizers,
  poolAnnotations,
  sharingKeyAnnotations,
  sourceRangesAnnotation,
} from '../core/model/contract.ts';
import { withDefaults } from '../core/traffic/defaults.ts';
import { reasons } from '../core/reasons.ts';
import { serviceKey, type ServiceUid } from '../core/model/names.ts';
import type {
  Annotation,
  Condition,
  Ingress,
  PortStatus,
  Protocol,
  Service,
  ServicePort,
  ServiceSpec,
  ServiceStatus,
} from '../core/model/service.ts';
import { asDecoded, type Once } from '../core/repeats.ts';
import { fieldsOf, integerOf, type Json, listOf, optionalTextOf, textOf, textsOf } from './wire.ts';

const none: readonly never[] = [];

const words: ReadonlyMap<string, string> = new Map(
  ['LoadBalancer', ...ourFinalizers, ...ourConditionTypes, ...Object.keys(reasons)].map((word) => [word, word]),
);

/** A text that is often one of a few strings: each string is kept once, not once per Service (docs/adr/0021). */
function wordOf(value: Json): string {
  const text = textOf(value);
  return words.get(text) ?? text;
}

/**
 * Projects a core/v1 Service to the fields that are kept. `defaults`: annotations for a Service that does not have them; with an
 * empty text it has one. `once`: for the parts that are equal in many Services. Total: never throws.
 */
export function projectService(wire: Json, defaults: readonly Annotation[] = none, once: Once = asDecoded): Service {
  const object = fieldsOf(wire);
  const metadata = fieldsOf(object['metadata']);
  const annotations = fieldsOf(metadata['annotations']);
  const namespace = textOf(metadata['namespace']);
  const name = textOf(metadata['name']);
  return {
    key: serviceKey(namespace, name),
    namespace,
    name,
    uid: textOf(metadata['uid']) as ServiceUid,
    createdAtMs: Date.parse(textOf(metadata['creationTimestamp'])) || 0,
    isDeleting: optionalTextOf(metadata['deletionTimestamp']) !== undefined,
    finalizers: finalizersOf(metadata['finalizers']),
    spec: withDefaults(
      projectSpec(namespace, fieldsOf(object['spec']), annotations, once),
      defaults.filter(([annotation]) => !Object.hasOwn(annotations, annotation)),
    ),
    status: projectStatus(fieldsOf(object['status']), listOf(metadata['managedFields']), once),
  };
}

function projectSpec(
  namespace: string,
  spec: Readonly<Record<string, Json>>,
  annotations: Readonly<Record<string, Json>>,
  once: Once,
): ServiceSpec {
  return {
    type: wordOf(spec['type']),
    loadBalancerClass: optionalTextOf(spec['loadBalancerClass']),
    wantsNone: presentIn(annotations, [ignoreAnnotation])[0]?.[1] === 'true',
    ipFamilies: once(familiesOf(spec['ipFamilies'])),
    requireDualStack: spec['ipFamilyPolicy'] === 'RequireDualStack',
    ports: listOf(spec['ports']).map(projectPort),
    loadBalancerIp: optionalTextOf(spec['loadBalancerIP']),
    addressAnnotations: presentIn(annotations, addressesAnnotations),
    poolAnnotations: presentIn(annotations, poolAnnotations),
    sharingKey: presentIn(annotations, sharingKeyAnnotations)[0]?.[1] ?? ciliumKeyOf(namespace, annotations),
    dataplane: presentIn(annotations, [dataplaneAnnotation])[0]?.[1],
    options: optionsIn(annotations),
    backends: presentIn(annotations, [backendsAnnotation])[0]?.[1],
    ignoredAnnotations: namesOf(presentIn(annotations, ignoredAnnotations)),
    sourceRanges: projectSourceRanges(spec, annotations),
    sessionAffinity: spec['sessionAffinity'] === 'ClientIP' ? 'ClientIP' : 'None',
    affinitySeconds: affinitySecondsOf(spec['sessionAffinityConfig']),
    externalTrafficPolicy: spec['externalTrafficPolicy'] === 'Local' ? 'Local' : 'Cluster',
    healthCheckNodePort: integerOf(spec['healthCheckNodePort']),
  };
}

/** As Kubernetes completes and validates it: three hours if it is not given, at most a day. */
function affinitySecondsOf(config: Json): number {
  const seconds = integerOf(fieldsOf(fieldsOf(config)['clientIP'])['timeoutSeconds']);
  return seconds > 0 && seconds <= 86_400 ? seconds : 10_800;
}

/** The present, non-empty annotations; nearly always none. */
function presentIn(annotations: Readonly<Record<string, Json>>, names: readonly string[]): readonly Annotation[] {
  const present = names.flatMap((name): Annotation[] => {
    const text = Object.hasOwn(annotations, name) ? textOf(annotations[name]).trim() : '';
    return text === '' ? [] : [[name, text]];
  });
  return present.length === 0 ? none : present;
}

const otherwiseRead = new Set([
  ...addressesAnnotations,
  ...poolAnnotations,
  ...sharingKeyAnnotations,
  dataplaneAnnotation,
  backendsAnnotation,
]);

function optionsIn(annotations: Readonly<Record<string, Json>>): readonly Annotation[] {
  const names = Object.keys(annotations).filter((name) => name.startsWith(optionPrefix) && !otherwiseRead.has(name));
  return names.length === 0 ? none : presentIn(annotations, names.toSorted());
}

/**
 * Cilium's key. Unless it permits all namespaces, those that it permits and the own one become part of the key, so that only
 * Services that permit each other have the same one.
 */
function ciliumKeyOf(namespace: string, annotations: Readonly<Record<string, Json>>): string | undefined {
  const [key, list] = [ciliumSharingKey, ciliumSharingNamespaces].map((names) => presentIn(annotations, names)[0]?.[1]);
  if (key === undefined) return undefined;
  const namespaces = (list ?? namespace).split(',').map((text) => text.trim());
  if (namespaces.includes('*')) return key;
  // The space in front: no annotation can be read as this key, for its text is trimmed.
  return ` ${JSON.stringify([key, ...new Set([namespace, ...namespaces].toSorted())])}`;
}

function namesOf(annotations: readonly Annotation[]): readonly string[] {
  return annotations.length === 0 ? none : annotations.map(([name]) => name);
}

function familiesOf(value: Json): readonly Family[] {
  return textsOf(value)
    .filter((family) => family === 'IPv4' || family === 'IPv6')
    .map((family) => (family === 'IPv4' ? 4 : 6));
}

function finalizersOf(value: Json): readonly string[] {
  const finalizers = textsOf(value).map(wordOf);
  if (finalizers.length === 0) return none;
  return finalizers.join() === ourFinalizers.join() ? ourFinalizers : finalizers;
}

/**
 * As in Kubernetes' `GetLoadBalancerSourceRanges`: the field takes precedence over the annotation's comma-separated
 * list.
 */
function projectSourceRanges(
  spec: Readonly<Record<string, Json>>,
  annotations: Readonly<Record<string, Json>>,
): readonly string[] {
  const field = textsOf(spec['loadBalancerSourceRanges']);
  if (field.length > 0) return field;
  const annotation = textOf(annotations[sourceRangesAnnotation]).trim();
  return annotation === '' ? none : annotation.split(',').map((text) => text.trim());
}

function projectPort(wire: Json): ServicePort {
  const port = fieldsOf(wire);
  return {
    name: textOf(port['name']),
    protocol: protocolOf(port['protocol']),
    port: integerOf(port['port']),
    nodePort: integerOf(port['nodePort']),
  };
}

function protocolOf(value: Json): Protocol {
  return value === 'UDP' || value === 'SCTP' ? value : 'TCP';
}

function projectStatus(
  status: Readonly<Record<string, Json>>,
  managedFields: readonly Json[],
  once: Once,
): ServiceStatus {
  const ingress = listOf(fieldsOf(status['loadBalancer'])['ingress']).map((entry) => projectIngress(entry, once));
  return {
    ingress,
    conditions: listOf(status['conditions'])
      .map((condition) => projectCondition(condition, once))
      .filter((condition) => ourConditionTypes.has(condition.type))
      .toSorted((a, b) => (a.type < b.type ? -1 : 1)),
    ingressManager: ingress.length === 0 ? undefined : ingressManagerOf(managedFields),
  };
}

function projectIngress(wire: Json, once: Once): Ingress {
  const entry = fieldsOf(wire);
  return {
    ip: optionalTextOf(entry['ip']),
    hostname: optionalTextOf(entry['hostname']),
    ipMode: optionalTextOf(entry['ipMode']),
    ports: once(
      listOf(entry['ports']).map((item): PortStatus => {
        const port = fieldsOf(item);
        const error = optionalTextOf(port['error']);
        const base = { port: integerOf(port['port']), protocol: textOf(port['protocol']) };
        return error === undefined ? base : { ...base, error };
      }),
    ),
  };
}

function projectCondition(wire: Json, once: Once): Condition {
  const condition = fieldsOf(wire);
  const status = condition['status'];
  return once({
    type: wordOf(condition['type']),
    status: status === 'True' || status === 'False' ? status : 'Unknown',
    reason: wordOf(condition['reason']),
    message: textOf(condition['message']),
    lastTransitionTime: once(textOf(condition['lastTransitionTime'])),
  });
}

/**
 * The manager whose managedFields entry for the subresource `status` contains `loadBalancer.ingress`; of several, the
 * newest.
 */
function ingressManagerOf(managedFields: readonly Json[]): string | undefined {
  let manager: string | undefined;
  let newest = '';
  for (const item of managedFields) {
    const entry = fieldsOf(item);
    const owned = fieldsOf(fieldsOf(fieldsOf(entry['fieldsV1'])['f:status'])['f:loadBalancer']);
    const time = textOf(entry['time']);
    if (!('f:ingress' in owned) || (manager !== undefined && time < newest)) continue;
    manager = textOf(entry['manager']);
    newest = time;
  }
  return manager;
}

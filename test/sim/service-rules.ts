import { isIP } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { Fields, SimObject } from './kinds.ts';
import { invalid } from './refusal.ts';
import type { OwnedObject } from './storage.ts';
import { updateStatus } from './status-owners.ts';

type Family = 'IPv4' | 'IPv6';
type Port = Readonly<Record<string, unknown>> & { readonly nodePort?: number };

/** Assigns NodePorts from 30000 on, never the same twice; the real range has 2,768, which some benchmarks exceed. */
export function makeServiceRules(): {
  /** Fields that the API server sets and removes when a Service's spec is written over `old`. Refuses another class. */
  readonly onWrite: (draft: OwnedObject, old: SimObject | undefined) => OwnedObject;
  /** Refuses an invalid status. */
  readonly onStatus: (object: SimObject) => void;
} {
  let nextNodePort = 30_000;

  const withDefaults = (object: SimObject): SimObject => {
    const spec: Fields = {
      type: 'ClusterIP',
      sessionAffinity: 'None',
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ...object.spec,
    };
    const { type } = spec;
    const needsNodePorts =
      type === 'NodePort' || (type === 'LoadBalancer' && spec['allocateLoadBalancerNodePorts'] !== false);
    const ports = ((spec['ports'] ?? []) as readonly Port[]).map((port) => ({
      protocol: 'TCP',
      ...port,
      ...(needsNodePorts && !port.nodePort ? { nodePort: takeNodePort() } : {}),
    }));
    const external = {
      ...(type === 'LoadBalancer' || type === 'NodePort' ? { externalTrafficPolicy: 'Cluster' } : {}),
      ...(type === 'LoadBalancer' ? { allocateLoadBalancerNodePorts: true } : {}),
    };
    return { ...object, spec: { ...external, ...spec, ports }, status: object.status ?? { loadBalancer: {} } };
  };

  const takeNodePort = (): number => (nextNodePort += 1);

  /** Those of load balancers alone. */
  const withBalancerFields = ({ spec = {}, ...object }: SimObject, old: SimObject | undefined): SimObject => {
    const { loadBalancerClass, healthCheckNodePort = old?.spec?.['healthCheckNodePort'], ...rest } = spec;
    if (spec['type'] !== 'LoadBalancer') return { ...object, spec: rest };
    if (old?.spec?.['type'] === 'LoadBalancer' && !isDeepStrictEqual(old.spec['loadBalancerClass'], loadBalancerClass))
      throw invalid('spec.loadBalancerClass: Invalid value: may not change once set', 'spec.loadBalancerClass');
    return {
      ...object,
      spec: {
        ...rest,
        ...(loadBalancerClass !== undefined && { loadBalancerClass }),
        ...(spec['externalTrafficPolicy'] === 'Local' && {
          healthCheckNodePort: healthCheckNodePort || takeNodePort(),
        }),
      },
    };
  };

  return {
    onWrite: ({ object, owners }, old) => {
      const written = withModes(withBalancerFields(withFamilies(withDefaults(object)), old));
      if (written.spec?.['type'] === 'LoadBalancer') return { object: written, owners };
      const { conditions, ...rest } = written.status ?? {};
      const emptied = { ...rest, loadBalancer: {}, ...(conditions === undefined ? {} : { conditions }) };
      const { status, owners: left } = updateStatus(
        { status: written.status ?? {}, owners },
        'kube-apiserver',
        emptied,
      );
      return { object: { ...written, status }, owners: left };
    },
    onStatus: ({ spec, status }) => {
      const ingress = (status?.['loadBalancer'] as { ingress?: { ip?: string }[] } | undefined)?.ingress ?? [];
      for (const [index, { ip = '' }] of ingress.entries())
        if (ip !== '' && isIP(ip) === 0)
          throw invalid(
            `Invalid value: "${ip}": must be a valid IP address`,
            `status.loadBalancer.ingress[${index}].ip`,
          );
      if (spec?.['type'] !== 'LoadBalancer' && ingress.length > 0)
        throw invalid(
          'status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is "LoadBalancer"',
          'status.loadBalancer.ingress',
        );
    },
  };
}

/** A cluster of two families. */
function withFamilies(object: SimObject): SimObject {
  const { ipFamilies, ipFamilyPolicy } = object.spec as {
    ipFamilies: readonly Family[] | null;
    ipFamilyPolicy: string;
  };
  if (ipFamilyPolicy === 'SingleStack' || ipFamilies?.length !== 1) return object;
  const other = ipFamilies[0] === 'IPv4' ? 'IPv6' : 'IPv4';
  return { ...object, spec: { ...object.spec, ipFamilies: [...ipFamilies, other] } };
}

/** An address without a mode gets one. */
function withModes(object: SimObject): SimObject {
  const { ingress } = (object.status?.['loadBalancer'] ?? {}) as { ingress?: readonly { readonly ip?: string }[] };
  if (ingress === undefined) return object;
  const modes = ingress.map((entry) => (entry.ip === undefined ? entry : { ipMode: 'VIP', ...entry }));
  return { ...object, status: { ...object.status, loadBalancer: { ingress: modes } } };
}

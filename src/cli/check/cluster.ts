import { projectEndpointSlice } from '../../api/endpoint-slice.ts';
import { projectNode } from '../../api/node.ts';
import { projectService } from '../../api/service.ts';
import { eligibilityOf } from '../../core/addresses/eligibility.ts';
import { kubeProxyHealthPort } from '../../core/model/contract.ts';
import { serviceKey, type ServiceKey } from '../../core/model/names.ts';
import type { Node } from '../../core/model/node.ts';
import type { Service } from '../../core/model/service.ts';
import { lacksNodePorts } from '../../core/traffic/dataplane.ts';
import type { ServiceEndpoints } from '../../core/traffic/local.ts';
import { isTooOld, oldestMinor, type ServerVersion } from '../../daemon/cluster.ts';
import { type CommandDeps, earlierStatePaths, statePaths } from '../../daemon/platform.ts';
import { newIdentity } from '../../daemon/identity.ts';
import { listAll } from '../../daemon/list-all.ts';
import { missingRights, rights, rightsAdvice, showRight } from '../../daemon/rights.ts';
import type { Probe } from '../../health/probe.ts';
import type { KubeObject } from '../../kube/object.ts';
import { makeIdentityFile } from '../../state/identity.ts';
import { type RunOptions, siteOf } from '../options.ts';
import type { ApiConnection } from './connection.ts';
import { about, counted, type Finding, named, ok, problem, warning } from './finding.ts';
import type { Inspect } from './inspect.ts';
import { checkLease } from './lease.ts';
import { findOthers } from './others.ts';

const versionTimeoutMs = 5_000;

/** What later checks need of the cluster, each as it was read, or what a check of it lacks. */
export type CheckedCluster = {
  readonly nodes: readonly Node[] | string;
  readonly services: readonly Service[] | string;
  /** The endpoints of Services; read only if one has a port without a NodePort. */
  readonly endpoints: ReadonlyMap<ServiceKey, ServiceEndpoints>;
};

/** Everything that must be asked of the API server and the nodes. */
export async function checkCluster(
  options: RunOptions,
  connection: Pick<ApiConnection, 'client' | 'server'> | undefined,
  { machine, probe, log }: Pick<CommandDeps, 'machine' | 'log'> & { readonly probe: Probe },
  inspect: Inspect,
  signal: AbortSignal,
): Promise<CheckedCluster> {
  const group = 'Nodes and Services';
  let client: ApiConnection['client'] | undefined;
  const ask = async ({ client: asked, server }: NonNullable<typeof connection>): Promise<Finding> => {
    const version = await asked.get<ServerVersion>('/version', { signal, timeoutMs: versionTimeoutMs });
    client = asked;
    const found = `${server}, Kubernetes ${version.gitVersion}`;
    if (isTooOld(version)) return problem(found, `furiwake needs Kubernetes 1.${oldestMinor} or newer`);
    return ok(found);
  };
  const lacksKubeconfig = 'needs the kubeconfig';
  await inspect('API server', 'API server', connection === undefined ? lacksKubeconfig : () => ask(connection));
  if (client === undefined) {
    const lack = connection === undefined ? lacksKubeconfig : 'needs an answer of the API server';
    for (const what of ['permissions', 'Lease']) await inspect('Permissions', what, lack);
    for (const what of ['nodes', 'Services', 'load balancers']) await inspect(group, what, lack);
    return { nodes: lack, services: lack, endpoints: new Map() };
  }
  return await checkAnswering(options, client, { machine, probe, log }, inspect, signal);
}

async function checkAnswering(
  options: RunOptions,
  client: ApiConnection['client'],
  { machine, probe, log }: Pick<CommandDeps, 'machine' | 'log'> & { readonly probe: Probe },
  inspect: Inspect,
  signal: AbortSignal,
): Promise<CheckedCluster> {
  const group = 'Nodes and Services';
  let mayList = false;
  let mayLease = false;
  await inspect('Permissions', 'permissions', async () => {
    const missing = await missingRights(client, options.leaseNamespace, signal);
    mayList = !missing.some(({ verb }) => verb === 'list');
    mayLease = !missing.some(({ resource }) => resource === 'leases');
    if (missing.length === 0) return ok(`all ${rights.length} granted`);
    return problem(
      `${missing.length} of ${rights.length} are missing: ${missing.map((right) => showRight(right, options.leaseNamespace)).join(', ')}`,
      rightsAdvice(missing),
    );
  });
  const checkOwnLease = async (): Promise<Finding> => {
    const { files } = machine;
    const { identity: path } = statePaths(options.stateDir);
    const { identity: earlierPath } = earlierStatePaths(options.stateDir);
    const kept = await makeIdentityFile({ path, earlierPath, files, log }).read();
    return checkLease(client, options, kept ?? (await newIdentity(machine)), signal);
  };
  await inspect('Permissions', 'Lease', mayLease ? checkOwnLease : 'needs the permissions for Leases');

  const lacksList = mayList ? undefined : 'needs the permissions to list';
  const list = async <T>(plural: string, read: (object: KubeObject) => T, apiVersion = 'v1'): Promise<readonly T[]> => {
    const all: T[] = [];
    for await (const object of listAll<KubeObject>(client, { apiVersion, plural }, signal)) all.push(read(object));
    return all;
  };
  let nodeObjects: readonly KubeObject[] = [];
  let nodes: CheckedCluster['nodes'] = lacksList ?? 'needs the nodes';
  let services: CheckedCluster['services'] = lacksList ?? 'needs the Services';
  let endpoints: CheckedCluster['endpoints'] = new Map();
  const readNodes = async (): Promise<Finding> => {
    nodeObjects = await list('nodes', (node) => node);
    const projected = nodeObjects.map(projectNode);
    nodes = projected;
    return checkNodes(projected, probe, signal);
  };
  const readServices = async (): Promise<readonly Finding[]> => {
    const projected = await list('services', (object) => projectService(object, options.defaults));
    services = projected;
    if (projected.some(({ spec }) => spec.type === 'LoadBalancer' && lacksNodePorts(spec))) {
      const slices = await list('endpointslices', (object) => projectEndpointSlice(object), 'discovery.k8s.io/v1');
      endpoints = Map.groupBy(slices, ({ service = serviceKey('', '') }) => service);
    }
    return checkServices(projected, options);
  };
  await inspect(group, 'nodes', lacksList ?? readNodes);
  await inspect(group, 'Services', lacksList ?? readServices);
  await inspect(group, 'load balancers', lacksList ?? (() => findOthers(client, nodeObjects, signal)));
  return { nodes, services, endpoints };
}

/**
 * Asks the nodes that get connections: an excluded one is only named. Where kube-proxy's health port is silent or refused
 * on all nodes, furiwake falls back to a probe of its own.
 */
async function checkNodes(nodes: readonly Node[], probe: Probe, signal: AbortSignal): Promise<Finding> {
  const excluded = nodes.filter((node) => node.excluded !== undefined).map(({ name }) => name);
  const active = nodes.filter((node) => node.excluded === undefined);
  const targets = new Map(active.flatMap((node) => node.addresses).map((address) => [address.text, address]));
  const answers = await probe(targets, signal);
  const those = (wanted: string): readonly string[] =>
    [...answers].filter(([, answer]) => answer === wanted).map(([address]) => address);
  const [healthy, unhealthy, alive, silent] = [those('ok'), those('unhealthy'), those('alive'), those('silent')];
  if (targets.size === 0)
    return warning(
      excluded.length > 0 && active.length === 0 ? `all are excluded: ${named(excluded)}` : 'none with an address',
      'Services get addresses, and their connections are closed until a node takes them',
    );
  const found = [
    `${healthy.length} of ${counted(targets.size, 'node address', 'node addresses')} healthy on port ${kubeProxyHealthPort}`,
    ...(unhealthy.length > 0 ? [`unhealthy: ${named(unhealthy)}`] : []),
    ...(alive.length > 0 ? [`refused by ${named(alive)}`] : []),
    ...(silent.length > 0 ? [`no answer from ${named(silent)}`] : []),
    ...(excluded.length > 0 ? [`excluded: ${named(excluded)}`] : []),
  ].join('; ');
  if (healthy.length === targets.size) return ok(found);
  if (healthy.length + unhealthy.length === 0)
    return warning(
      found,
      `open port ${kubeProxyHealthPort} from this host to the nodes (k3s binds it to localhost); without it furiwake only distinguishes silent nodes from the others`,
    );
  return warning(
    found,
    'check these nodes, and the firewalls between them and this host: they get no connections until they answer',
  );
}

/** How many Services furiwake would serve, and which another implementation holds. */
function checkServices(services: readonly Service[], options: RunOptions): readonly Finding[] {
  const site = siteOf(options);
  const balanced = services.filter(({ spec }) => spec.type === 'LoadBalancer');
  if (balanced.length === 0) return [ok('none of type LoadBalancer')];
  const those = (wanted: string): readonly Service[] =>
    balanced.filter((service) => eligibilityOf(service, site, false) === wanted);
  const [ours, occupied, foreign] = [those('ours'), those('occupied'), those('foreign')];
  const pending = ours.filter(({ status }) => status.ingress.length === 0);
  const found = [
    `${ours.length} for furiwake (${pending.length} without an address)`,
    ...(occupied.length > 0 ? [`${occupied.length} held by another implementation`] : []),
    ...(foreign.length > 0 ? [`${foreign.length} of another class or namespace`] : []),
  ].join(', ');
  const counts = ok(`${counted(balanced.length, 'Service')} of type LoadBalancer: ${found}`);
  if (occupied.length === 0) return [counts];
  const holders = occupied.map(({ key, status }) => `${key} (${status.ingressManager ?? 'an unknown client'})`);
  return [
    counts,
    about(
      'held Services',
      warning(
        `another implementation has given addresses to ${named(holders)}; furiwake leaves them alone`,
        'to serve one, note its address in the annotation furiwake.dev/addresses, disable the other implementation and clear status.loadBalancer; or create it again with spec.loadBalancerClass',
      ),
    ),
  ];
}

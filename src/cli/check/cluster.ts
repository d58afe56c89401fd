import { projectNode } from '../../api/node.ts';
import { projectService } from '../../api/service.ts';
import { eligibilityOf } from '../../core/addresses/eligibility.ts';
import { kubeProxyHealthPort } from '../../core/model/contract.ts';
import type { Node } from '../../core/model/node.ts';
import type { Service } from '../../core/model/service.ts';
import { isTooOld, oldestMinor, type ServerVersion } from '../../daemon/cluster.ts';
import { type CommandDeps, earlierStatePaths, statePaths } from '../../daemon/platform.ts';
import { newIdentity } from '../../daemon/identity.ts';
import { listAll } from '../../daemon/list-all.ts';
import { missingRights, rights, showRight } from '../../daemon/rights.ts';
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

/** What the checks of the address pool need of the cluster; a part that could not be read is `undefined`. */
export type CheckedCluster = {
  readonly nodes: readonly Node[] | undefined;
  readonly services: readonly Service[] | undefined;
};

/** Everything that must be asked of the API server and the nodes. `undefined` where it does not answer or list them. */
export async function checkCluster(
  options: RunOptions,
  { client, server }: Pick<ApiConnection, 'client' | 'server'>,
  { machine, probe, log }: Pick<CommandDeps, 'machine' | 'log'> & { readonly probe: Probe },
  inspect: Inspect,
  signal: AbortSignal,
): Promise<CheckedCluster | undefined> {
  let answers = false;
  await inspect('API server', 'API server', async () => {
    const version = await client.get<ServerVersion>('/version', { signal, timeoutMs: versionTimeoutMs });
    answers = true;
    const found = `${server}, Kubernetes ${version.gitVersion}`;
    if (isTooOld(version)) return problem(found, `furiwake needs Kubernetes 1.${oldestMinor} or newer`);
    return ok(found);
  });
  if (!answers) return undefined;

  let mayList = false;
  let mayLease = false;
  await inspect('Permissions', 'permissions', async () => {
    const missing = await missingRights(client, options.leaseNamespace, signal);
    mayList = !missing.some(({ verb }) => verb === 'list');
    mayLease = !missing.some(({ resource }) => resource === 'leases');
    if (missing.length === 0) return ok(`all ${rights.length} granted`);
    return problem(
      `${missing.length} of ${rights.length} are missing: ${missing.map((right) => showRight(right, options.leaseNamespace)).join(', ')}`,
      missing.every(({ isLocal }) => isLocal === true)
        ? 'check --lease-namespace: it must be the namespace in which deploy/furiwake.yaml grants access to Leases'
        : 'run: kubectl apply --filename deploy/furiwake.yaml, and use the kubeconfig of its ServiceAccount',
    );
  });
  if (mayLease)
    await inspect('Permissions', 'Lease', async () => {
      const { files } = machine;
      const { identity: path } = statePaths(options.stateDir);
      const { identity: earlierPath } = earlierStatePaths(options.stateDir);
      const kept = await makeIdentityFile({ path, earlierPath, files, log }).read();
      return checkLease(client, options, kept ?? (await newIdentity(machine)), signal);
    });
  if (!mayList) return undefined;

  const list = async <T>(plural: string, read: (object: KubeObject) => T): Promise<readonly T[]> => {
    const all: T[] = [];
    for await (const object of listAll<KubeObject>(client, { apiVersion: 'v1', plural }, signal))
      all.push(read(object));
    return all;
  };
  let nodeObjects: readonly KubeObject[] | undefined;
  let nodes: readonly Node[] | undefined;
  let services: readonly Service[] | undefined;
  await inspect('Nodes and Services', 'nodes', async () => {
    nodeObjects = await list('nodes', (node) => node);
    nodes = nodeObjects.map(projectNode);
    return checkNodes(nodes, probe, signal);
  });
  await inspect('Nodes and Services', 'Services', async () => {
    services = await list('services', (object) => projectService(object, options.defaults));
    return checkServices(services, options);
  });
  await inspect('Nodes and Services', 'load balancers', () => findOthers(client, nodeObjects ?? [], signal));
  return { nodes, services };
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
  const [ours, held, foreign] = [those('ours'), those('held'), those('foreign')];
  const pending = ours.filter(({ status }) => status.ingress.length === 0);
  const found = [
    `${ours.length} for furiwake (${pending.length} without an address)`,
    ...(held.length > 0 ? [`${held.length} held by another implementation`] : []),
    ...(foreign.length > 0 ? [`${foreign.length} of another class or namespace`] : []),
  ].join(', ');
  const counts = ok(`${counted(balanced.length, 'Service')} of type LoadBalancer: ${found}`);
  if (held.length === 0) return [counts];
  const holders = held.map(({ key, status }) => `${key} (${status.ingressManager ?? 'an unknown client'})`);
  return [
    counts,
    about(
      'held Services',
      warning(
        `another implementation has given addresses to ${named(holders)}; furiwake leaves them alone`,
        'set spec.loadBalancerClass, or disable the other implementation and empty their status.loadBalancer',
      ),
    ),
  ];
}

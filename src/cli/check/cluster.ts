import { projectNode } from '../../api/node.ts';
import { projectService } from '../../api/service.ts';
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
import type { RunOptions } from '../options.ts';
import type { ApiConnection } from './connection.ts';
import { ok, problem } from './finding.ts';
import type { Inspect } from './inspect.ts';
import { checkLease } from './lease.ts';
import { checkNodes } from './nodes.ts';
import { findOthers } from './others.ts';
import { checkServices } from './services.ts';

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
    services = await list('services', projectService);
    return checkServices(services, options);
  });
  await inspect('Nodes and Services', 'load balancers', () => findOthers(client, nodeObjects ?? [], signal));
  return { nodes, services };
}

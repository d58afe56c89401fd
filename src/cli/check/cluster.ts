import { projectNode } from '../../api/node.ts';
import { projectService } from '../../api/service.ts';
import { eligibilityOf } from '../../core/addresses/eligibility.ts';
import type { Node } from '../../core/model/node.ts';
import type { Service } from '../../core/model/service.ts';
import type { Site } from '../../core/model/site.ts';
import { makeProbe, probeAll } from '../../health/probe.ts';
import { type KubeClient, makeKubeClient } from '../../kube/client.ts';
import { loadKubeConfig } from '../../kube/config.ts';
import { isKubeError, KubeConfigError } from '../../kube/errors.ts';
import type { KubeObject } from '../../kube/object.ts';
import { isTooOld, oldestMinor, type ServerVersion } from '../../daemon/cluster.ts';
import { assertNoOverlap, clusterRanges, noServiceCidrWords } from '../../daemon/cluster-ranges.ts';
import { StartError } from '../../daemon/errors.ts';
import { knownIdentity } from '../../daemon/identity.ts';
import { listAll } from '../../daemon/list-all.ts';
import { type Platform, statePaths } from '../../daemon/platform.ts';
import type { RunOptions } from '../options.ts';
import { missingRights, rights, showRight } from '../../daemon/rights.ts';
import type { CommandDeps } from '../../daemon/command.ts';
import { type Finding, findingsOf, ok, warning, wrong } from './finding.ts';
import { checkLease } from './lease.ts';
import { findOthers } from './others.ts';

const requestTimeoutMs = 5_000;

/** What must be asked of the API server and the nodes. */
export async function checkCluster(
  options: RunOptions,
  { machine, log, metrics }: CommandDeps,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const { clock, random } = machine;
  try {
    const config = await loadKubeConfig({ ...machine, log, kubeconfig: options.kubeconfig, context: options.context });
    const client = makeKubeClient({ config, clock, log, metrics, random });
    try {
      return await askCluster(client, config.server, options, machine, signal);
    } finally {
      await client.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof KubeConfigError)
      return [wrong('kubeconfig', error.message, 'correct it, or name another with --kubeconfig')];
    if (isKubeError(error))
      return [wrong('API server', error.message, 'check that this host reaches it and that the kubeconfig is right')];
    throw error;
  }
}

/** The same over a client. Throws `KubeError` when the API server does not even tell its version or our rights. */
export async function askCluster(
  client: Pick<KubeClient, 'get' | 'list' | 'create'>,
  server: string,
  options: RunOptions,
  machine: Platform,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const version = await client.get<ServerVersion>('/version', { signal, timeoutMs: requestTimeoutMs });
  const found = `${server}, Kubernetes ${version.gitVersion}`;
  const findings: Finding[] = [
    isTooOld(version)
      ? wrong('API server', found, `furiwake needs 1.${oldestMinor} or newer`)
      : ok('API server', found),
  ];
  const missing = await missingRights(client, options.leaseNamespace, signal);
  for (const right of rights) {
    const shown = showRight(right, options.leaseNamespace);
    findings.push(
      missing.includes(right)
        ? wrong('right', `missing: ${shown}`, 'apply deploy/ and use the kubeconfig of its ServiceAccount')
        : ok('right', shown),
    );
  }
  const look = async (what: string, part: () => Promise<Finding | readonly Finding[]>): Promise<void> => {
    findings.push(...(await findingsOf(what, part, signal)));
  };
  if (!missing.some(({ resource }) => resource === 'leases'))
    await look('Lease', async () => {
      const identity = await knownIdentity(machine, statePaths(options.stateDir).identity);
      return checkLease(client, options, identity, signal);
    });
  // What follows reads Services, Nodes and ServiceCIDRs: without the rights it would only say so again.
  if (missing.some(({ verb }) => verb === 'list')) return findings;
  await look('addresses', () => checkAddresses(client, options, signal));
  const nodes: KubeObject[] = [];
  await look('nodes', async () => {
    for await (const node of listAll<KubeObject>(client, { apiVersion: 'v1', plural: 'nodes' }, signal))
      nodes.push(node);
    return checkNodeHealth(nodes.map(projectNode), machine.clock, signal);
  });
  await look('other implementations', () => findOthers(client, nodes, signal));
  await look('Services', async () => {
    const services: Service[] = [];
    for await (const wire of listAll<KubeObject>(client, { apiVersion: 'v1', plural: 'services' }, signal))
      services.push(projectService(wire));
    return checkHeld(services, options);
  });
  return findings;
}

async function checkAddresses(
  client: Pick<KubeClient, 'list'>,
  options: RunOptions,
  signal: AbortSignal,
): Promise<Finding> {
  try {
    const ranges = options.addresses ?? [];
    const { taken, showsServiceCidr } = await clusterRanges(client, signal);
    assertNoOverlap(ranges, taken);
    if (!showsServiceCidr)
      return warning('addresses', noServiceCidrWords, 'make sure that --addresses lie outside of it');
    return ok(
      'addresses',
      options.addresses === undefined ? "this host's own" : 'apart from the Service and Pod CIDRs',
    );
  } catch (error) {
    if (error instanceof StartError) return wrong('addresses', error.message, 'choose other --addresses');
    throw error;
  }
}

/** Where kube-proxy's health port is silent or refused everywhere, furiwake falls back to a check of its own. */
async function checkNodeHealth(
  nodes: readonly Node[],
  clock: CommandDeps['machine']['clock'],
  signal: AbortSignal,
): Promise<Finding> {
  const probe = makeProbe({ clock });
  const targets = new Map(nodes.flatMap((node) => node.addresses).map((address) => [address.text, address]));
  const answers = [...(await probeAll(probe, targets, signal)).values()];
  const count = (answer: string): number => answers.filter((each) => each === answer).length;
  const found = `${count('http')} of ${targets.size} node addresses answer on :10256, ${count('alive')} refuse, ${count('silent')} are silent`;
  if (targets.size === 0)
    return warning('nodes', 'none', 'a Service without nodes is published, and its connections are closed');
  if (count('http') === targets.size) return ok('nodes', found);
  if (count('http') === 0)
    return warning(
      'nodes',
      found,
      "no node answers kube-proxy's health check (k3s binds it to localhost): furiwake then only tells a silent node from a living one",
    );
  return warning('nodes', found, 'connections go to nodes that answer; look at the others, and at firewalls between');
}

/** Services without a class that another controller's status keeps us from. */
function checkHeld(services: readonly Service[], options: RunOptions): readonly Finding[] {
  const site: Site = { ...options, ranges: [], handsOutOwn: false, movesServices: false };
  return services
    .filter((service) => eligibilityOf(service, site, false) === 'held')
    .map((service) =>
      warning(
        'held Service',
        `${service.key} has an address from ${service.status.ingressManager ?? 'an unknown client'}`,
        'left alone: give it another spec.loadBalancerClass, or take the other controller away and empty its status',
      ),
    );
}

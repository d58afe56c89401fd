import { projectService } from '../api/service.ts';
import { makeServiceWrites, type ServiceWrites } from '../controller/service-writes.ts';
import { belongsTo } from '../core/addresses/eligibility.ts';
import { ownFinalizer } from '../core/model/contract.ts';
import type { Site } from '../core/model/site.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { nextWrite } from '../core/status/next-write.ts';
import { makeKubeClient, type KubeClient } from '../kube/client.ts';
import { loadKubeConfig } from '../kube/config.ts';
import { isKubeError } from '../kube/errors.ts';
import type { KubeObject } from '../kube/object.ts';
import { resourcePath } from '../kube/paths.ts';
import { ExecError } from '../ports/exec.ts';
import type { Log } from '../ports/log.ts';
import { askAdmin, type HostStatus } from '../cli/admin.ts';
import { StartError } from '../cli/errors.ts';
import { type HostParts, makeHostParts } from './host-parts.ts';
import { type Machine, statePaths } from '../cli/machine.ts';
import type { RunOptions } from '../cli/options.ts';
import type { CommandDeps } from '../cli/command.ts';

const deadlineMs = 30_000;

/** Takes away from this host what `run` put there: nft table, rules and routes, HAProxy, addresses. */
export async function removeFromHost(
  { classifier, proxy, announcer }: Pick<HostParts, 'classifier' | 'proxy' | 'announcer'>,
  log: Log,
): Promise<void> {
  const signal = AbortSignal.timeout(deadlineMs);
  await classifier.remove(signal);
  await proxy.stop(signal);
  await announcer.release(PersistentMap.empty(), signal);
  log.info({}, 'taken off this host: nft table, routing rules, HAProxy, addresses');
}

/**
 * `furiwake cleanup`: the host as it was before, the state directory's contents included; with `isCluster` also the
 * Services of the class: finalizers, addresses and conditions. Throws {@link StartError} while a furiwake runs here.
 */
export async function cleanup(
  options: RunOptions,
  isCluster: boolean,
  deps: CommandDeps,
  signal: AbortSignal,
): Promise<void> {
  const { machine, log } = deps;
  if (!machine.isRoot)
    throw new StartError('furiwake cleanup needs root: it takes away nftables, routes and addresses of this host');
  await assertNobodyRuns(options.stateDir, signal);
  const writesTo = isCluster ? await connect(options, deps) : undefined;
  const lifetime = new AbortController();
  const parts = await makeHostParts({
    machine,
    stateDir: options.stateDir,
    idleTimeoutSeconds: options.idleTimeoutSeconds,
    log,
    metrics: deps.metrics,
    lifetime: lifetime.signal,
  });
  await removeFromHost(parts, log).finally(() => lifetime.abort());
  await forget(options.stateDir, machine, signal);
  if (writesTo !== undefined) {
    const site: Site = { ...options, ranges: [], handsOutOwn: false };
    try {
      const count = await releaseServices(writesTo.client, site, writesTo.writes, log, signal);
      log.info({ services: count }, 'Services let go: finalizers, addresses and conditions taken off');
    } finally {
      await writesTo.client.close();
    }
  }
}

async function assertNobodyRuns(stateDir: string, signal: AbortSignal): Promise<void> {
  const answer = await askAdmin(statePaths(stateDir).adminSocket, 'GET', '/status', '', signal).catch(() => undefined);
  if (answer === undefined) return;
  const { pid } = JSON.parse(answer) as HostStatus;
  throw new StartError(
    `a furiwake runs with this state directory (process ${pid}): end it first, it would put everything back`,
  );
}

async function connect(
  options: RunOptions,
  { machine, log, metrics }: CommandDeps,
): Promise<{ readonly client: KubeClient; readonly writes: ServiceWrites }> {
  const config = await loadKubeConfig({ ...machine, kubeconfig: options.kubeconfig, context: options.context });
  const client = makeKubeClient({ config, clock: machine.clock, log, metrics, random: machine.random });
  return { client, writes: makeServiceWrites(client) };
}

/** What `run` wrote into the state directory, by name; the folder itself only when nothing else is in it. */
async function forget(stateDir: string, { files, exec }: Machine, signal: AbortSignal): Promise<void> {
  for (const path of Object.values(statePaths(stateDir))) await files.remove(path);
  try {
    await exec.run('rmdir', [stateDir], { signal });
  } catch (error) {
    if (!(error instanceof ExecError)) throw error; // not there, or not only ours
  }
}

const pageSize = '500';

/** Every Service of our class and namespaces with our finalizer: nothing serves it any more. */
async function releaseServices(
  client: KubeClient,
  site: Site,
  writes: ServiceWrites,
  log: Log,
  signal: AbortSignal,
): Promise<number> {
  let count = 0;
  let next: string | undefined = '';
  while (next !== undefined) {
    const page: { readonly items: readonly KubeObject[]; readonly metadata: { readonly continue?: string } } =
      await client.list<KubeObject>(resourcePath({ apiVersion: 'v1', plural: 'services' }), {
        signal,
        query: { limit: pageSize, ...(next === '' ? {} : { continue: next }) },
      });
    for (const wire of page.items) if (await releaseService(wire, site, writes, log, signal)) count++;
    next = page.metadata.continue === '' ? undefined : page.metadata.continue;
  }
  return count;
}

const maxWrites = 4;

/** The writes of a Service that is leaving, until none is left; true when there was one. */
async function releaseService(
  wire: KubeObject,
  site: Site,
  writes: ServiceWrites,
  log: Log,
  signal: AbortSignal,
): Promise<boolean> {
  let service = projectService(wire);
  let version = wire.metadata.resourceVersion ?? '';
  if (!service.finalizers.includes(ownFinalizer) || !belongsTo(service, site)) return false;
  for (let round = 0; round < maxWrites && service.finalizers.includes(ownFinalizer); round++) {
    const write = nextWrite({ service, eligibility: 'leaving', desired: undefined, isProgrammed: false });
    if (write === undefined) break;
    try {
      const answer = (
        write.kind === 'status'
          ? await writes.status(service, write.status, signal)
          : await writes.finalizers(service, version, write.finalizers, signal)
      ) as KubeObject;
      service = projectService(answer);
      version = answer.metadata.resourceVersion ?? '';
    } catch (error) {
      if (isKubeError(error, 'NOT_FOUND')) return true;
      log.warn({ service: service.key, err: error }, 'could not be let go: run the command again');
      return false;
    }
  }
  return true;
}

import { assertAccess } from '../daemon/cluster.ts';
import type { CommandDeps } from '../daemon/command.ts';
import { StartError } from '../daemon/errors.ts';
import { lockHost } from '../daemon/host-lock.ts';
import { earlierStatePaths, type Platform, statePaths } from '../daemon/platform.ts';
import type { RunOptions } from '../cli/options.ts';
import { makeServiceWrites } from '../controller/service-writes.ts';
import { makeKubeClient, type KubeClient } from '../kube/client.ts';
import { loadKubeConfig } from '../kube/config.ts';
import { ExecError } from '../ports/exec.ts';
import { makeHostParts } from './host-parts.ts';
import { releaseServices } from './release-services.ts';
import { removeFromHost } from './remove-from-host.ts';

/**
 * `furiwake cleanup`: the host as it was before, the state directory's contents included; with `isCluster` also the
 * Services of the class: finalizers, addresses and conditions. Throws {@link StartError} while a furiwake runs here, and
 * for what could not be done.
 */
export async function cleanup(
  options: RunOptions,
  isCluster: boolean,
  deps: CommandDeps,
  signal: AbortSignal,
): Promise<void> {
  const { machine } = deps;
  if (!machine.isRoot)
    throw new StartError('furiwake cleanup needs root: it takes away nftables, routes and addresses of this host');
  await using _host = await lockHost(
    { command: 'cleanup', pid: machine.pid, stateDir: options.stateDir },
    machine,
    signal,
  );
  const client = isCluster ? await connect(options, deps, signal) : undefined;
  try {
    await cleanHost(options, deps, signal);
    if (client !== undefined) await letServicesGo(client, options, deps, signal);
  } finally {
    await client?.close();
  }
}

async function cleanHost(
  { stateDir, idleTimeoutSeconds, nodeSilenceSeconds }: RunOptions,
  { machine, log, metrics }: CommandDeps,
  signal: AbortSignal,
): Promise<void> {
  const lifetime = new AbortController();
  const parts = await makeHostParts({
    machine,
    stateDir,
    idleTimeoutSeconds,
    nodeSilenceSeconds,
    isServing: false,
    log,
    metrics,
    lifetime: lifetime.signal,
  });
  await removeFromHost(parts, log).finally(() => lifetime.abort());
  await forget(stateDir, machine, signal);
}

/** Before the host is touched: an API server that would refuse what comes after it is told now. */
async function connect(
  options: RunOptions,
  { machine, log, metrics }: CommandDeps,
  signal: AbortSignal,
): Promise<KubeClient> {
  const { clock, random } = machine;
  const config = await loadKubeConfig({ ...machine, log, kubeconfig: options.kubeconfig, context: options.context });
  const client = makeKubeClient({ config, clock, log, metrics, random });
  try {
    const { leaseNamespace } = options;
    await assertAccess({ client, server: config.server, leaseNamespace, clock, log }, signal);
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

async function letServicesGo(
  client: KubeClient,
  options: RunOptions,
  { log }: CommandDeps,
  signal: AbortSignal,
): Promise<void> {
  const site = { ...options, ranges: [], handsOutOwn: false };
  const { released, failed } = await releaseServices({ client, writes: makeServiceWrites(client), site, log }, signal);
  if (failed.length > 0)
    throw new StartError(
      `${failed.length} Services could not be let go: ${failed.join(', ')}: the log above says why; run furiwake cleanup --cluster again`,
    );
  log.info({ services: released }, 'Services let go: finalizers, addresses and conditions taken off');
}

/** What `run` wrote into the state directory, by name; the folder itself only when nothing else is in it. */
async function forget(stateDir: string, { files, exec }: Platform, signal: AbortSignal): Promise<void> {
  for (const path of [...Object.values(statePaths(stateDir)), ...Object.values(earlierStatePaths(stateDir))])
    await files.remove(path);
  try {
    await exec.run('rmdir', [stateDir], { signal });
  } catch (error) {
    if (!(error instanceof ExecError)) throw error; // not there, or not only ours
  }
}

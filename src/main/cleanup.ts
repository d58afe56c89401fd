import { messageOf } from '../async/error-words.ts';
import { makeProbe } from '../health/probe.ts';
import { assertUnserved } from '../daemon/admin.ts';
import { assertAccess } from '../daemon/cluster.ts';
import { newIdentity } from '../daemon/identity.ts';
import { leaseName } from '../daemon/lease-name.ts';
import {
  type CommandDeps,
  earlierStatePaths,
  haproxyFolder,
  statePaths,
  unsavedTablePath,
} from '../daemon/platform.ts';
import { StartError } from '../daemon/errors.ts';
import { lockHost } from '../daemon/host-lock.ts';
import { assertDeletable, deleteState } from '../daemon/state-dir.ts';
import { type RunOptions, siteOf } from '../cli/options.ts';
import { makeServiceWrites } from '../controller/service-writes.ts';
import { makeKubeClient, type KubeClient } from '../kube/client.ts';
import { loadKubeConfig, logWarnings } from '../kube/config.ts';
import { noteWithdrawn } from '../kube/withdrawn-note.ts';
import { makeIdentityFile } from '../state/identity.ts';
import { makeHostParts } from './host-parts.ts';
import { releaseServices } from './release-services.ts';
import { removeFromHost } from './remove-from-host.ts';

/**
 * `furiwake cleanup`: removes everything that furiwake configured on the host, including the contents of the state
 * directory; with `isCluster` also finalizers, addresses and conditions of the Services of the class. Throws {@link
 * StartError} while furiwake runs here, for a state directory of another program, and with the steps that failed.
 */
export async function cleanup(
  options: RunOptions,
  isCluster: boolean,
  deps: CommandDeps,
  signal: AbortSignal,
): Promise<void> {
  const { machine } = deps;
  if (!machine.isRoot)
    throw new StartError('furiwake cleanup needs root: it removes nftables rules, routes and addresses from this host');
  await using _host = await lockHost(
    { command: 'cleanup', pid: machine.pid, stateDir: options.stateDir },
    machine,
    signal,
  );
  await assertDeletable(machine, options.stateDir);
  await assertUnserved(statePaths(options.stateDir).adminSocket, signal);
  const client = isCluster ? await connect(options, deps, signal) : undefined;
  const identity = await identityOf(options, deps);
  try {
    await cleanHost(options, deps);
    await noteCleaned(client, identity, options, deps, signal);
    if (client !== undefined) await release(client, options, deps, signal);
  } finally {
    await client?.close();
  }
}

async function cleanHost(options: RunOptions, deps: CommandDeps): Promise<void> {
  const lifetime = new AbortController();
  const probe = makeProbe({ clock: deps.machine.clock });
  const parts = await makeHostParts({ ...deps, probe, options, isServing: false, lifetime: lifetime.signal });
  await removeFromHost(parts, { clock: deps.machine.clock, log: deps.log }).finally(() => lifetime.abort());
  const { files, runFolder } = deps.machine;
  for (const each of [haproxyFolder(runFolder), unsavedTablePath(runFolder)]) await files.remove(each);
  await deleteState(deps.machine, options.stateDir);
}

async function identityOf({ stateDir }: RunOptions, { machine, log }: CommandDeps): Promise<string> {
  const { files } = machine;
  const earlierPath = earlierStatePaths(stateDir).identity;
  const file = makeIdentityFile({ path: statePaths(stateDir).identity, earlierPath, files, log });
  return (await file.read().catch(() => undefined)) ?? (await newIdentity(machine));
}

/** Other hosts that read the Lease see that this one no longer answers. A host is also cleaned without its cluster. */
async function noteCleaned(
  connected: KubeClient | undefined,
  identity: string,
  options: RunOptions,
  deps: CommandDeps,
  signal: AbortSignal,
): Promise<void> {
  const { leaseNamespace: namespace, loadBalancerClass } = options;
  let client = connected;
  try {
    client ??= await makeClient(options, deps);
    const name = leaseName(loadBalancerClass);
    const isNoted = await noteWithdrawn(client, { namespace, name, identity }, signal);
    if (isNoted) deps.log.info({ lease: name }, 'noted in the Lease that this host no longer has addresses');
  } catch (error) {
    signal.throwIfAborted();
    deps.log.info(
      {},
      `the Lease was not read (${messageOf(error)}): if it notes that this host keeps its addresses, the note stays, and another host may warn of them. To remove it, run furiwake cleanup with --kubeconfig`,
    );
  } finally {
    if (client !== connected) await client?.close();
  }
}

async function makeClient(options: RunOptions, { machine, log, metrics }: CommandDeps): Promise<KubeClient> {
  const { clock, random } = machine;
  const config = await loadKubeConfig({ ...machine, log, kubeconfig: options.kubeconfig, context: options.context });
  return makeKubeClient({ config, clock, log, metrics, random });
}

/** Before the first change of the host, so that refused credentials or missing permissions are reported now. */
async function connect(
  options: RunOptions,
  { machine, log, metrics }: CommandDeps,
  signal: AbortSignal,
): Promise<KubeClient> {
  const { clock, random } = machine;
  const config = await loadKubeConfig({ ...machine, log, kubeconfig: options.kubeconfig, context: options.context });
  logWarnings(config, log);
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

async function release(
  client: KubeClient,
  options: RunOptions,
  { log }: CommandDeps,
  signal: AbortSignal,
): Promise<void> {
  const site = siteOf(options);
  const { released, failed } = await releaseServices({ client, writes: makeServiceWrites(client), site, log }, signal);
  if (failed.length > 0)
    throw new StartError(
      `could not release ${failed.length === 1 ? 'a Service' : `${failed.length} Services`}: ${failed.join(', ')}. The log above says why. Run furiwake cleanup --cluster again.`,
    );
  const [what, their] = released === 1 ? ['Service', 'its'] : ['Services', 'their'];
  log.info({}, `released ${released} ${what}: removed ${their} finalizers, addresses and conditions`);
}

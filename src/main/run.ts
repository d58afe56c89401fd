import { dirname } from 'node:path';
import { makeProbe } from '../health/probe.ts';
import { makeLatch } from '../async/latch.ts';
import { superviseAll } from '../async/supervise-all.ts';
import type { RunOptions } from '../cli/options.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import { adminRoutes, serveAdmin } from '../daemon/admin.ts';
import { makeApiServerAddresses } from '../daemon/api-server-addresses.ts';
import { loadCandidates } from '../daemon/candidates.ts';
import { type CommandDeps, statePaths } from '../daemon/platform.ts';
import { loadDrains } from '../daemon/drains.ts';
import { makeCounters } from '../daemon/counters.ts';
import { makeHostMetrics } from '../daemon/host-metrics.ts';
import { lockHost } from '../daemon/host-lock.ts';
import { assertHost } from '../daemon/host-tools.ts';
import { connectionsRoute } from '../daemon/ended-connections.ts';
import { makeHostView } from '../daemon/host-view.ts';
import { mayServeWithoutLease } from '../daemon/leadership.ts';
import { watchNatBridges } from '../daemon/nat-bridges.ts';
import { isDiskTrouble, keepStateDir, openStateDir, refuseStateDir } from '../daemon/state-dir.ts';
import { makeKubeClient } from '../kube/client.ts';
import { makeOpenConnections } from '../kube/open-connections.ts';
import { loadKubeConfig, logWarnings } from '../kube/config.ts';
import { makeLostFiles } from '../state/lost-files.ts';
import { makeClusterParts } from './cluster-parts.ts';
import { makeHostParts } from './host-parts.ts';
import { removeFromHost } from './remove-from-host.ts';
import { serveMetrics } from './serve-metrics.ts';

/** A scrape walks over all Services, 20 ms with 10,000: not for each of many scrapes. */
const refreshEveryMs = 1_000;

/**
 * `furiwake run`: controller and agent in one process.
 *
 *   host locked ─► kubeconfig read ─► state directory opened ─┬► the last table is served again, and watched over
 *                                                             └► API server, rights, Lease ─► watches, controller, events
 *
 * All parts run concurrently, until the first one fails or `signal` aborts. Throws {@link StartError} for what keeps it
 * from starting.
 */
export async function run(options: RunOptions, onHost: CommandDeps, signal: AbortSignal): Promise<void> {
  const lost = makeLostFiles(onHost.machine.files);
  const deps = { ...onHost, machine: { ...onHost.machine, files: lost.files } };
  const { machine, log, metrics } = deps;
  const { clock, random, files } = machine;
  const { loadBalancerClass, stateDir } = options;
  await assertHost(machine, signal);
  await using lock = await lockHost({ command: 'run', pid: machine.pid, stateDir }, machine, signal);
  log.info({}, `furiwake ${deps.version} starting (PID ${machine.pid}, state directory ${stateDir})`);
  const config = await loadKubeConfig({ ...machine, log, kubeconfig: options.kubeconfig, context: options.context });
  logWarnings(config, log);
  const paths = statePaths(stateDir);
  await using _stateDir = await openStateDir(machine, stateDir);
  const candidates = await loadCandidates({ path: paths.candidates, files, clock, log });
  const drains = await loadDrains<NodeName>({ kind: 'node', path: paths.drains, files, log });
  const serviceDrains = await loadDrains<ServiceKey>({
    kind: 'service',
    path: paths.drainedServices,
    files,
    log,
  });

  const lifetime = new AbortController();
  const alive = AbortSignal.any([signal, lifetime.signal]);
  const connections = makeOpenConnections();
  const client = makeKubeClient({ config, clock, log: log.child({ part: 'api' }), metrics, random, connections });
  await using _client = { [Symbol.asyncDispose]: () => client.close() };
  deps.onReload(() => {
    config.credentials.reload(alive).catch((error: unknown) => {
      if (!alive.aborted) log.error({ err: error }, 'the credentials could not be read again; using the current ones');
    });
  });
  const isServing = mayServeWithoutLease({ ...candidates, ...options });
  const probe = makeProbe({ clock: deps.machine.clock });
  const hostParts = await makeHostParts({ ...deps, probe, options, isServing, lifetime: alive });
  const { agent, network } = hostParts;
  /** Set when the answer of `notReady`, the plan or the report of the host may have changed. */
  const changed = makeLatch();
  agent.onTroubles(() => changed.set());
  agent.subscribe(() => {
    changed.set();
    connections.setOwn(network.addresses().own);
  });
  const apiServer = makeApiServerAddresses({ server: config.server, clock });
  const cluster = await makeClusterParts({
    ...deps,
    options,
    client,
    server: config.server,
    apiServer,
    hostParts,
    candidates,
    drains,
    serviceDrains,
    changed,
  });
  const notReady = (): readonly string[] => [...cluster.troubles(), ...agent.troubles()];
  const view = makeHostView({
    process: { version: deps.version, pid: machine.pid, loadBalancerClass },
    cluster: () => cluster.connected(),
    notReady,
    parts: () => cluster.controller(),
    agent,
    proxy: hostParts.proxy,
    counters: makeCounters({ ...hostParts, clock }),
    clock,
  });
  const { nodeStates } = view;
  const routes = adminRoutes({
    drains,
    serviceDrains,
    nodes: nodeStates,
    otherHolder: () => cluster.otherHolder(),
    log,
    view,
    connections: connectionsRoute({ agent, proxy: hostParts.proxy, clock }),
  });
  const openAdmin = (): Promise<AsyncDisposable> => serveAdmin(paths.adminSocket, routes, files, signal);
  let admin = await openAdmin().catch((error: unknown) => {
    if (!isDiskTrouble(error)) refuseStateDir(stateDir, error);
    log.error(
      { err: error },
      `${paths.adminSocket} cannot be created: Services are served, but furiwake status, drain and undrain get no answer`,
    );
    return undefined;
  });
  await using _admin = { [Symbol.asyncDispose]: async () => admin?.[Symbol.asyncDispose]() };
  const runFolders = [dirname(machine.runFolder), machine.runFolder];
  const restoreState = async (): Promise<readonly string[]> => {
    const restored = [...(await lock.restore()), ...(await lost.restore())];
    if (admin !== undefined && (await files.exists(paths.adminSocket))) return restored;
    await admin?.[Symbol.asyncDispose]();
    admin = undefined;
    admin = await openAdmin();
    return [...restored, paths.adminSocket];
  };
  const hostMetrics = makeHostMetrics(metrics, deps.version);
  let refreshedMs = -Infinity;
  let refreshing = Promise.resolve();
  const refresh = async (names: readonly string[], inner: AbortSignal): Promise<void> => {
    if (names.length > 0 && !names.some((name) => hostMetrics.names.has(name))) return;
    if (clock.monotonic() - refreshedMs >= refreshEveryMs) {
      refreshedMs = clock.monotonic();
      refreshing = view.metrics(inner).then(hostMetrics.set);
    }
    await refreshing;
  };
  await using _metrics = await serveMetrics(
    options.metricsAddress,
    { metrics, exec: machine.exec, notReady, refresh, families: hostMetrics.families },
    signal,
  );

  try {
    await network.refresh(signal).catch((error: unknown) => {
      signal.throwIfAborted();
      log.error({ err: error }, 'the addresses of this host cannot be read');
    });
    const needs = new Map([...network.addresses().needs, ...(await apiServer(signal))]);
    const boot = isServing && !cluster.hasLedSinceBoot ? signal : undefined;
    await agent.restore((address) => needs.get(address.text), boot);
    await superviseAll(
      [
        (inner) => agent.run(inner),
        (inner) => cluster.run({ notReady, nodeStates }, inner),
        (inner) => watchNatBridges({ ...hostParts, files, desired: () => agent.desired(), clock, log }, inner),
        (inner) => keepStateDir({ stateDir, folders: runFolders, restore: restoreState }, { files, clock, log }, inner),
      ],
      signal,
    );
  } finally {
    lifetime.abort();
    if (options.stopsTrafficOnExit) {
      await removeFromHost(hostParts, { clock, log });
      await cluster.release();
    }
  }
}

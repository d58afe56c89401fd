import { makeFacts } from '../agent/facts.ts';
import { assembleController } from '../controller/assemble.ts';
import { makeRecordFile } from '../state/records.ts';
import type { Site } from '../core/model/site.ts';
import { healthRoutes } from '../http/health-routes.ts';
import { serveHttp } from '../http/server.ts';
import { makeKubeClient } from '../kube/client.ts';
import { loadKubeConfig } from '../kube/config.ts';
import { makeEventSender } from '../kube/events.ts';
import { makeLease } from '../kube/lease.ts';
import type { CommandDeps } from '../cli/command.ts';
import { adminRoutes, serveAdmin, serviceLines } from '../cli/admin.ts';
import { removeFromHost } from './remove-from-host.ts';
import { prepareCluster } from '../cli/cluster.ts';
import { StartError } from '../cli/errors.ts';
import { makeHostParts } from './host-parts.ts';
import { defaultAddresses } from '../cli/default-addresses.ts';
import { assertHost } from '../cli/host-tools.ts';
import { lockHost } from '../cli/host-lock.ts';
import { identityOf } from '../cli/identity.ts';
import { acquireLease, untilLost } from '../cli/lease.ts';
import { leaseName } from '../cli/lease-name.ts';
import { statePaths } from '../cli/machine.ts';
import type { RunOptions } from '../cli/options.ts';
import { openStateDir, recordedAddresses, refuseStateDir, startingWith } from '../cli/state-dir.ts';
import { tellNodes } from '../cli/tell-nodes.ts';
import { superviseAll } from '../async/supervise-all.ts';

/**
 * `furiwake run`: controller and agent in one process.
 *
 *   host locked ─► kubeconfig read ─► state directory made ─► what was served is served again, and watched over
 *                                                        └─► API server, rights, Lease ─► watches, controller, events
 *
 * All of it side by side, until the first part fails or `signal` aborts.
 *
 * Throws {@link StartError} for what keeps it from starting, or when another process took the lease.
 */
export async function run(options: RunOptions, deps: CommandDeps, signal: AbortSignal): Promise<void> {
  const { machine, log, metrics } = deps;
  const { clock, random, files } = machine;
  await assertHost(machine, signal);
  await using _host = await lockHost({ command: 'run', pid: machine.pid, stateDir: options.stateDir }, signal);
  const config = await loadKubeConfig({ ...machine, kubeconfig: options.kubeconfig, context: options.context });
  const paths = statePaths(options.stateDir);
  await using _stateDir = await openStateDir(machine, options.stateDir);
  const ours = await recordedAddresses(files, paths.addresses);
  const ranges = options.addresses ?? (await defaultAddresses(machine.exec, ours, signal));

  const lifetime = new AbortController();
  const alive = AbortSignal.any([signal, lifetime.signal]);
  const client = makeKubeClient({ config, clock, log: log.child({ part: 'api' }), metrics, random });
  const parts = await makeHostParts({
    machine,
    stateDir: options.stateDir,
    idleTimeoutSeconds: options.idleTimeoutSeconds,
    log,
    metrics,
    lifetime: alive,
  });
  const { agent } = parts;
  const identity = await identityOf(machine, paths.identity);
  const lease = makeLease({
    client,
    namespace: options.leaseNamespace,
    name: leaseName(options.loadBalancerClass),
    identity: identity.name,
    clock,
    random,
    log: log.child({ part: 'lease' }),
  });
  const events = makeEventSender({
    client,
    clock,
    random,
    log,
    metrics,
    reportingController: 'furiwake.dev/controller',
    reportingInstance: machine.hostname,
  });
  const site: Site = { ...options, ranges, handsOutOwn: options.addresses === undefined };

  const { stores, controller, enqueue, drained } = assembleController({
    client,
    site,
    host: agent,
    facts: makeFacts({ host: parts.host, ranges, clock }),
    records: startingWith(makeRecordFile({ path: paths.records, files }), paths.records),
    events,
    mayWrite: () => lease.isHeld(),
    clock,
    random,
    log,
    metrics,
    signal: alive,
  });

  const notReady = (): readonly string[] => [
    ...(lease.isHeld()
      ? []
      : [`the Lease ${options.leaseNamespace}/${leaseName(options.loadBalancerClass)} is not held`]),
    ...(stores.services.isSynced && stores.nodes.isSynced ? [] : ['Services and Nodes are not known yet']),
    ...agent.troubles(),
  ];
  await using _admin = await serveAdmin(
    paths.adminSocket,
    adminRoutes({
      setDrained: (nodes) => controller.setDrained(nodes),
      nodes: () => (stores.nodes.isSynced ? new Set(stores.nodes.objects().keys()) : undefined),
      log,
      status: async (inner) => {
        const haproxy = await parts.proxy.observe(inner).catch(() => undefined);
        return {
          version: deps.version,
          pid: machine.pid,
          loadBalancerClass: options.loadBalancerClass,
          notReady: notReady(),
          haproxy,
          services: serviceLines(controller.plan(), agent.inForce(), haproxy),
          nodes: haproxy?.servers ?? [],
        };
      },
    }),
    files,
    signal,
  ).catch((error: unknown) => refuseStateDir(options.stateDir, error));
  await using _metrics = await serveMetrics(options, deps, notReady, signal);

  const serveCluster = async (inner: AbortSignal): Promise<void> => {
    const { server } = config;
    const { leaseNamespace, loadBalancerClass } = options;
    const { gitVersion } = await prepareCluster({ client, server, leaseNamespace, clock, log }, ranges, inner);
    log.info({ server, kubernetes: gitVersion, class: loadBalancerClass }, 'connected to the cluster');
    await identity.keep().catch((error: unknown) => refuseStateDir(options.stateDir, error));
    await acquireLease(lease, options, log, inner);
    await superviseAll(
      [
        (until) => stores.watch(until),
        (until) => controller.run(until),
        (until) => events.run(until),
        (until) => tellNodes(stores.nodes, events, until),
        (until) => untilLost(lease, until),
      ],
      inner,
    );
  };
  try {
    await agent.restore(signal);
    await superviseAll([(inner) => agent.run(enqueue, inner), serveCluster], signal);
  } finally {
    lifetime.abort();
    await drained;
    if (options.stopsTrafficOnExit) await removeFromHost(parts, log);
    await client.close();
  }
}

async function serveMetrics(
  options: RunOptions,
  { metrics }: CommandDeps,
  notReady: () => readonly string[],
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  if (options.metricsAddress === undefined) return { [Symbol.asyncDispose]: async () => undefined };
  const { host, port } = options.metricsAddress;
  try {
    return await serveHttp(
      options.metricsAddress,
      healthRoutes({ metrics: () => metrics.text(), metricsContentType: metrics.contentType, notReady }),
      signal,
    );
  } catch (error) {
    signal.throwIfAborted();
    throw new StartError(
      `--metrics-address: cannot listen on ${host}:${port} (${error instanceof Error ? error.message : String(error)}); choose another, or none`,
      { cause: error },
    );
  }
}

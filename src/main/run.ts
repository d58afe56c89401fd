import { makeFacts } from '../agent/facts.ts';
import { makeLatch } from '../async/latch.ts';
import { superviseAll } from '../async/supervise-all.ts';
import { adminRoutes, serveAdmin } from '../daemon/admin.ts';
import { makeHostMetrics } from '../daemon/host-metrics.ts';
import { makeHostView } from '../daemon/host-view.ts';
import { prepareCluster } from '../daemon/cluster.ts';
import type { CommandDeps } from '../daemon/command.ts';
import { StartError } from '../daemon/errors.ts';
import { lockHost } from '../daemon/host-lock.ts';
import { assertHost } from '../daemon/host-tools.ts';
import { identityOf } from '../daemon/identity.ts';
import { leaseName } from '../daemon/lease-name.ts';
import { earlierStatePaths, statePaths } from '../daemon/platform.ts';
import type { RunOptions } from '../cli/options.ts';
import { openStateDir, refuseStateDir } from '../daemon/state-dir.ts';
import { clusterTroubles } from '../daemon/readiness.ts';
import { sayWhenReady } from '../daemon/say-when-ready.ts';
import { tellNodes } from '../daemon/tell-nodes.ts';
import { loadTenureRecord } from '../daemon/tenure-record.ts';
import { assembleController, type ControllerParts } from '../controller/assemble.ts';
import type { Term } from '../controller/controller.ts';
import type { Site } from '../core/model/site.ts';
import { loadCandidates } from '../daemon/candidates.ts';
import { loadDrains } from '../daemon/drains.ts';
import { leadWhileHeld, servesAtStart } from '../daemon/leadership.ts';
import { makeKubeClient } from '../kube/client.ts';
import { loadKubeConfig } from '../kube/config.ts';
import { makeEventSender } from '../kube/events.ts';
import { makeLease } from '../kube/lease.ts';
import { makeIdentityFile } from '../state/identity.ts';
import { makeFileLedger } from '../state/ledger.ts';
import { makeApiServerAddresses } from '../daemon/api-server-addresses.ts';
import { makeHostParts } from './host-parts.ts';
import { removeFromHost } from './remove-from-host.ts';
import { serveMetrics } from './serve-metrics.ts';

/**
 * `furiwake run`: controller and agent in one process.
 *
 *   host locked ─► kubeconfig read ─► state directory opened ─┬► the last table is served again, and watched over
 *                                                             └► API server, rights, Lease ─► watches, controller, events
 *
 * All parts run concurrently, until the first one fails or `signal` aborts. Throws {@link StartError} for what keeps it
 * from starting.
 */
export async function run(options: RunOptions, deps: CommandDeps, signal: AbortSignal): Promise<void> {
  const { machine, log, metrics } = deps;
  const { clock, random, files } = machine;
  const { leaseNamespace, loadBalancerClass, stateDir } = options;
  await assertHost(machine, signal);
  await using _host = await lockHost({ command: 'run', pid: machine.pid, stateDir }, machine, signal);
  log.info({}, `furiwake ${deps.version} starting (PID ${machine.pid}, state directory ${stateDir})`);
  const config = await loadKubeConfig({ ...machine, log, kubeconfig: options.kubeconfig, context: options.context });
  const paths = statePaths(stateDir);
  await using _stateDir = await openStateDir(machine, stateDir);
  const candidates = await loadCandidates({ path: paths.candidates, files, clock, log });
  const drains = await loadDrains({ path: paths.drains, files, log });

  const lifetime = new AbortController();
  const alive = AbortSignal.any([signal, lifetime.signal]);
  const client = makeKubeClient({ config, clock, log: log.child({ part: 'api' }), metrics, random });
  deps.onReload(() => {
    config.credentials.reload(alive).catch((error: unknown) => {
      if (!alive.aborted) log.error({ err: error }, 'the credentials could not be read again; using the current ones');
    });
  });
  const hostParts = await makeHostParts({
    machine,
    stateDir,
    idleTimeoutSeconds: options.idleTimeoutSeconds,
    nodeSilenceSeconds: options.nodeSilenceSeconds,
    isServing: servesAtStart({ ...candidates, ...options }),
    log,
    metrics,
    lifetime: alive,
  });
  const { agent, placement } = hostParts;
  /** Set when the answer of `notReady`, the plan or the report of the host may have changed. */
  const readiness = makeLatch();
  agent.onTroubles(() => readiness.set());
  agent.subscribe(() => readiness.set());
  const earlierPaths = earlierStatePaths(stateDir);
  const identity = await identityOf(
    machine,
    makeIdentityFile({ path: paths.identity, earlierPath: earlierPaths.identity, files, log }),
  );
  const { hostname } = machine;
  const tenures = await loadTenureRecord({
    path: paths.tenure,
    ledgerPath: paths.ledger,
    identity: identity.name,
    hostname,
    files,
    log,
  });
  const lease = makeLease({
    client,
    namespace: leaseNamespace,
    name: leaseName(loadBalancerClass),
    identity: identity.name,
    clock,
    random,
    log: log.child({ part: 'lease' }),
    onOther: (other) => void candidates.add(other),
    onClaimed: () => readiness.set(),
  });
  const events = makeEventSender({
    client,
    clock,
    random,
    log,
    metrics,
    reportingController: 'furiwake.dev/controller',
    reportingInstance: hostname,
  });
  const site: Site = {
    ...options,
    ranges: options.addresses ?? [],
    handsOutOwn: options.addresses === undefined,
    movesServices: false,
  };
  const ledger = makeFileLedger({
    path: paths.ledger,
    earlierPath: earlierPaths.records,
    files,
    clock,
    log,
  });
  const apiServer = makeApiServerAddresses({
    server: config.server,
    clock,
  });
  const facts = makeFacts({ host: hostParts.host, placement, site, reserved: apiServer });
  const connectingWords = `connecting to the API server ${config.server}`;
  /** `undefined` once the cluster is connected. */
  let connecting: string | undefined = connectingWords;
  let connected: { readonly server: string; readonly kubernetes: string } | undefined;
  /** Of the current term of the Lease. */
  let current: ControllerParts | undefined;

  const name = `${leaseNamespace}/${leaseName(loadBalancerClass)}`;
  const notReady = (): readonly string[] => [
    ...clusterTroubles({ connecting, lease, leaseName: name, parts: current }),
    ...agent.troubles(),
  ];
  const view = makeHostView({
    process: { version: deps.version, pid: machine.pid, loadBalancerClass },
    cluster: () => connected,
    notReady,
    parts: () => current,
    agent,
    proxy: hostParts.proxy,
    clock,
  });
  await using _admin = await serveAdmin(
    paths.adminSocket,
    adminRoutes({ drains, nodes: view.nodeStates, log, status: view.status }),
    files,
    signal,
  ).catch((error: unknown) => refuseStateDir(stateDir, error));
  const setMetrics = makeHostMetrics(metrics, deps.version);
  const refresh = (): void => setMetrics(view.metrics());
  await using _metrics = await serveMetrics(
    options.metricsAddress,
    { metrics, exec: machine.exec, notReady, refresh },
    signal,
  );

  const serveCluster = async (inner: AbortSignal): Promise<void> => {
    const { server } = config;
    const ranges = site.handsOutOwn ? placement.addresses().primary : [];
    if (site.handsOutOwn && ranges.length === 0)
      throw new StartError('this host has no address on the interface of its default route to assign: set --addresses');
    log.info({}, connectingWords);
    const onTrouble = (words: string): void => {
      connecting = words;
    };
    const access = { client, server, leaseNamespace, clock, log, onTrouble };
    const { gitVersion } = await prepareCluster(access, site.ranges, inner);
    connecting = undefined;
    connected = { server, kubernetes: gitVersion };
    log.info({ ...connected, class: loadBalancerClass }, 'connected to the cluster');
    await identity.keep().catch((error: unknown) => refuseStateDir(stateDir, error));
    await leadWhileHeld(
      {
        lease,
        leaseNamespace,
        loadBalancerClass,
        identity: identity.name,
        setServing: (isServing) => agent.setServing(isServing),
        hasOthers: () => candidates.hasOthers(),
        tenures,
        onLeaseLoss: options.onLeaseLoss,
        clock,
        log,
      },
      serveTerm,
      inner,
    );
  };

  /** While the Lease is held: with new stores, because the knowledge of an earlier term may be from another history. */
  const serveTerm = async (term: Term, inner: AbortSignal): Promise<void> => {
    const end = new AbortController();
    const parts = assembleController({
      client,
      site: { ...site, movesServices: site.handsOutOwn && candidates.hasOthers() },
      host: agent,
      term: {
        ...term,
        published: () => {
          term.published();
          readiness.set();
        },
      },
      facts,
      ledger,
      drains,
      events,
      mayWrite: () => lease.isHeld(),
      clock,
      random,
      log,
      metrics,
      signal: AbortSignal.any([inner, end.signal]),
    });
    current = parts;
    try {
      await superviseAll(
        [
          (until) => parts.stores.watch(until),
          (until) => parts.controller.run(until),
          (until) => events.run(until),
          (until) => tellNodes(parts.stores.nodes, events, until),
          (until) =>
            sayWhenReady(
              {
                plan: () => parts.controller.plan(),
                report: () => agent.report(),
                nodeStates: view.nodeStates,
                notReady,
                changed: readiness,
                clock,
                log,
              },
              until,
            ),
        ],
        inner,
      );
    } finally {
      end.abort();
      await parts.drained;
    }
  };

  try {
    await placement.refresh(signal).catch((error: unknown) => {
      signal.throwIfAborted();
      log.error({ err: error }, 'the addresses of this host cannot be read');
    });
    const needs = new Map([...placement.addresses().needs, ...(await apiServer(signal))]);
    await agent.restore((address) => needs.get(address.text));
    await superviseAll([(inner) => agent.run(inner), serveCluster], signal);
  } finally {
    lifetime.abort();
    if (options.stopsTrafficOnExit) await removeFromHost(hostParts, log);
    await client.close();
  }
}

import { makeFacts } from '../agent/facts.ts';
import type { Latch } from '../async/latch.ts';
import { superviseAll } from '../async/supervise-all.ts';
import { type RunOptions, siteOf } from '../cli/options.ts';
import { assembleController, type ControllerParts } from '../controller/assemble.ts';
import type { Term } from '../controller/controller.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import type { Candidates } from '../daemon/candidates.ts';
import { prepareCluster, untilAnswered } from '../daemon/cluster.ts';
import { type CommandDeps, earlierStatePaths, statePaths } from '../daemon/platform.ts';
import type { Drains } from '../daemon/drains.ts';
import { StartError } from '../daemon/errors.ts';
import type { HostStatus } from '../daemon/host-status.ts';
import { isTakenOver } from '../daemon/former-class.ts';
import { newIdentity } from '../daemon/identity.ts';
import { leadAsHolder, mayServeWithoutLease } from '../daemon/leadership.ts';
import { leaseName } from '../daemon/lease-name.ts';
import { clusterTroubles, otherHolderWords } from '../daemon/readiness.ts';
import { sayWhenReady, type SayWhenReadyDeps } from '../daemon/say-when-ready.ts';
import { refuseStateDir } from '../daemon/state-dir.ts';
import { reportNodes } from '../controller/record-events.ts';
import { loadTenureRecord } from '../daemon/tenure-record.ts';
import { makeTermLog } from '../daemon/term-log.ts';
import type { KubeClient } from '../kube/client.ts';
import { makeEventSender } from '../kube/events.ts';
import { makeLease } from '../kube/lease.ts';
import { makeIdentityFile } from '../state/identity.ts';
import { makeFileLedger } from '../state/ledger.ts';
import { isAnyServed } from './any-served.ts';
import type { HostParts } from './host-parts.ts';

/** Everything that works with the cluster: the connection, the Lease, and the controller of each term of the Lease. */
export type ClusterParts = {
  /** `undefined` until the API server has answered. */
  connected(): HostStatus['cluster'];
  /** Of the term of the Lease that this process is in; `undefined` between two terms. */
  controller(): ControllerParts | undefined;
  /** `host lb2 holds the Lease …`; `undefined`: no other host does, as far as is known. */
  otherHolder(): string | undefined;
  /** Why this host does not serve what the cluster asks for, a line each. */
  troubles(): readonly string[];
  /** Connects, and leads while the Lease is held, until `signal` aborts. Throws {@link StartError}. */
  run(ready: ShownReady, signal: AbortSignal): Promise<void>;
  /** Whether this host has led since it booted: otherwise another one may have taken over, and this one cannot know it. */
  readonly hasLedSinceBoot: boolean;
  /** This host answers for no address any more: another one can take the Lease at once. */
  release(): Promise<void>;
};

/** What the line `ready: …` of the log needs of the whole host. */
type ShownReady = Pick<SayWhenReadyDeps, 'notReady' | 'nodeStates'>;

export type ClusterPartsDeps = Pick<CommandDeps, 'machine' | 'log' | 'metrics'> & {
  readonly options: RunOptions;
  readonly client: KubeClient;
  /** URL of the API server. */
  readonly server: string;
  /** Addresses that the host needs for the API server, by text, and what each is. */
  readonly apiServer: (signal: AbortSignal) => Promise<ReadonlyMap<string, string>>;
  readonly hostParts: Pick<HostParts, 'agent' | 'network' | 'host' | 'noteServiceCidrs'>;
  readonly candidates: Candidates;
  readonly drains: Drains<NodeName>;
  readonly serviceDrains: Drains<ServiceKey>;
  /** Set when `troubles` or the plan may have changed. */
  readonly changed: Latch;
};

export async function makeClusterParts({
  options,
  machine,
  client,
  server,
  apiServer,
  hostParts: { agent, network, host, noteServiceCidrs },
  candidates,
  drains,
  serviceDrains,
  changed,
  log,
  metrics,
}: ClusterPartsDeps): Promise<ClusterParts> {
  const { clock, random, files, hostname } = machine;
  const { leaseNamespace, loadBalancerClass, stateDir } = options;
  const paths = statePaths(stateDir);
  const earlierPaths = earlierStatePaths(stateDir);
  const site = siteOf(options);
  const identityFile = makeIdentityFile({ path: paths.identity, earlierPath: earlierPaths.identity, files, log });
  /** The same after a restart, so that this host takes its own Lease again at once. */
  const identity = (await identityFile.read()) ?? (await newIdentity(machine));
  // Before the tenure, which is written again only where the ledger is.
  const ledger = makeFileLedger({ path: paths.ledger, earlierPath: earlierPaths.records, files, clock, log });
  await ledger.assertVersion(); // a host that holds the Lease and ends, because it cannot read the ledger, would keep it
  const shownLease = { namespace: leaseNamespace, name: leaseName(loadBalancerClass) };
  const tenures = await loadTenureRecord({
    path: paths.tenure,
    ledgerPath: paths.ledger,
    leaseName: shownLease.name,
    identity,
    hostname,
    files,
    clock,
    log,
  });
  const lease = makeLease({
    client,
    ...shownLease,
    identity,
    clock,
    random,
    log: log.child({ part: 'lease' }),
    mayBeServed: (signal) => isAnyServed({ client, site, clock }, signal),
    hasOthers: () => candidates.hasOthers(),
    onOther: (other) => candidates.add(other),
    onClaimed: () => changed.set(),
    // Before it adds the first one.
    keepsAddresses: () =>
      mayServeWithoutLease({ ...candidates, ...options }) && (!site.handsOutOwn || agent.hasAddresses()),
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
  const facts = makeFacts({ host, network, site, reserved: apiServer, clock, log });
  const connectingWords = `connecting to the API server ${server}`;
  /** `undefined` once the cluster is connected. */
  let connecting: string | undefined = connectingWords;
  let connected: HostStatus['cluster'];
  let current: ControllerParts | undefined;

  const connect = async (signal: AbortSignal): Promise<{ readonly isFormerClassTaken: boolean }> => {
    log.info({}, connectingWords);
    const onTrouble = (words: string): void => {
      connecting = words;
    };
    const access = { client, server, leaseNamespace, clock, log, onTrouble };
    const { gitVersion, serviceCidrs } = await prepareCluster(access, site.ranges, signal);
    noteServiceCidrs(serviceCidrs);
    const { formerClass } = tenures;
    const lookup = { client, namespace: leaseNamespace, identity, hostname };
    const isFormerClassTaken =
      formerClass !== undefined &&
      (await untilAnswered(access, signal, () => isTakenOver(formerClass, lookup, signal)));
    if (isFormerClassTaken)
      log.warn(
        { lease: formerClass.leaseName },
        'another host serves the class that this host served before: the Services and addresses of that class are left to it',
      );
    connecting = undefined;
    connected = { server, kubernetes: gitVersion };
    log.info({ ...connected, class: loadBalancerClass }, 'connected to the cluster');
    return { isFormerClassTaken };
  };

  /** With new stores, because the knowledge of an earlier term may be from another history. */
  const serveTerm = async (term: Term, ready: ShownReady, signal: AbortSignal): Promise<void> => {
    const end = new AbortController();
    const termLog = makeTermLog(log);
    const published = (): void => {
      term.published();
      changed.set();
    };
    const parts = assembleController({
      client,
      site: { ...site, movesServices: site.handsOutOwn && candidates.hasOthers() },
      host: agent,
      term: { ...term, published },
      facts,
      ledger,
      drains,
      serviceDrains,
      events,
      mayWrite: () => lease.isHolder(),
      clock,
      random,
      log: termLog.log,
      metrics,
      signal: AbortSignal.any([signal, end.signal]),
    });
    const { stores, controller } = parts;
    const shown = { ...ready, plan: () => controller.plan(), report: () => agent.report(), changed, clock, log };
    current = parts;
    try {
      await superviseAll(
        [
          (inner) => stores.watch(inner),
          (inner) => controller.run(inner),
          (inner) => events.run(inner),
          (inner) => reportNodes(stores.nodes, events, inner),
          (inner) => sayWhenReady(shown, inner),
        ],
        signal,
      );
    } finally {
      current = undefined;
      end.abort();
      await parts.drained;
      termLog.end();
    }
  };

  const serve = async (ready: ShownReady, signal: AbortSignal): Promise<void> => {
    if (site.handsOutOwn && network.addresses().primary.length === 0) {
      const words = 'this host has no address on the interface of its default route to assign';
      if (agent.desired() === undefined) throw new StartError(`${words}: set --addresses`);
      log.warn({}, `${words}; Services keep the addresses that they have`); // it served before: the network may be late
    }
    const { isFormerClassTaken } = await connect(signal);
    // Before other hosts see it.
    await identityFile.write(identity).catch((error: unknown) => refuseStateDir(stateDir, error));
    await leadAsHolder(
      {
        lease,
        shownLease,
        loadBalancerClass,
        identity,
        setServing: (isServing) => agent.setServing(isServing),
        keepAddressesUntil: (untilMs) => agent.keepAddressesUntil(untilMs),
        setKeepers: (hosts) => agent.setKeepers(hosts),
        setCutOff: (isCutOff) => agent.setCutOff(isCutOff),
        hasOthers: () => candidates.hasOthers(),
        hasAddresses: () => agent.hasAddresses(),
        isFormerClassTaken,
        tenures,
        onLeaseLoss: options.onLeaseLoss,
        stopsTrafficOnExit: options.stopsTrafficOnExit,
        clock,
        log,
      },
      (term, inner) => serveTerm(term, ready, inner),
      signal,
    );
  };

  return {
    connected: () => connected,
    controller: () => current,
    otherHolder: () => otherHolderWords(lease.holder(), `${shownLease.namespace}/${shownLease.name}`),
    troubles: () =>
      clusterTroubles({
        identity,
        connecting,
        lease,
        shownLease,
        mayServeWithoutLease: mayServeWithoutLease({ ...candidates, ...options }),
        isAnsweredElsewhere: agent.leavesAddresses() || agent.report().duplicates.size > 0,
        parts: current,
      }),
    run: (ready, signal) =>
      superviseAll(
        [(inner) => serve(ready, inner), (inner) => candidates.run(inner), (inner) => tenures.run(inner)],
        signal,
      ),
    hasLedSinceBoot: tenures.isOfThisBoot,
    release: () => lease.release(),
  };
}

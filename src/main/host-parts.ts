import { hearAnnouncements } from '../advertise/announcements.ts';
import { makeDefence } from '../advertise/defence.ts';
import { makeDuplicateProbe, makeDuplicateWatch } from '../advertise/duplicates.ts';
import { makeL2Advertiser } from '../advertise/l2.ts';
import { makeFrameSender } from '../advertise/frame-sender.ts';
import { type Agent, makeAgent } from '../agent/agent.ts';
import type { RunOptions } from '../cli/options.ts';
import { descriptorLimit, haproxyAccount } from '../daemon/host-tools.ts';
import { earlierStatePaths, haproxyFolder, type Platform, statePaths, unsavedTablePath } from '../daemon/platform.ts';
import { makeHaproxy } from '../dataplane/haproxy/haproxy.ts';
import { makeNat } from '../dataplane/nat/nat.ts';
import { makeBridgeFilter } from '../dataplane/nftables/bridge-filter.ts';
import { makeSteering } from '../dataplane/nftables/steering.ts';
import { makeAnswerProbe } from '../dataplane/direct/probes/answer-probe.ts';
import { makeAnsweringNodes } from '../dataplane/direct/probes/answering-nodes.ts';
import { makeMtuProbe } from '../dataplane/direct/probes/mtu-probe.ts';
import { makeDirect } from '../dataplane/direct/direct.ts';
import { readAnsweringNodes } from '../state/answering-nodes.ts';
import { makeGate } from '../health/gate.ts';
import { makeKubeProxy } from '../health/kube-proxy-sync.ts';
import { makeConfirmations } from '../health/confirmations.ts';
import { makeAskHealthCheckPort } from '../health/health-check-port.ts';
import { makeHealth } from '../health/health.ts';
import type { Probe } from '../health/probe.ts';
import type { Family } from '../core/ip/ip.ts';
import type { IpRange } from '../core/ip/range.ts';
import type { NodeName } from '../core/model/names.ts';
import { makeHost } from '../host/host.ts';
import { makeLastingLinks } from '../host/lasting-links.ts';
import { makeNetwork } from '../host/network.ts';
import { makePlacement } from '../host/placement.ts';
import type { Host } from '../ports/host.ts';
import type { Placement } from '../ports/placement.ts';
import type { Steering } from '../ports/steering.ts';
import type { Direct } from '../ports/direct.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { HostNetwork, Links } from '../ports/network.ts';
import type { Nat } from '../ports/nat.ts';
import type { Proxy } from '../ports/proxy.ts';
import { makeNotedTableFile } from '../state/noted-table.ts';
import { makePlacementRecord } from '../state/placement-record.ts';
import { makeTableFile } from '../state/table.ts';

/** Everything that works on this host, built from its state directory. */
export type HostParts = {
  readonly proxy: Proxy;
  readonly steering: Steering;
  readonly direct: Direct;
  readonly network: HostNetwork;
  readonly links: Links;
  readonly nat: Nat;
  readonly placement: Placement;
  readonly host: Host;
  readonly agent: Agent;
  /** The ranges of clusterIPs: `direct` refuses packets from there. */
  noteServiceCidrs(ranges: readonly IpRange[]): void;
};

export type HostPartsDeps = {
  readonly options: Pick<
    RunOptions,
    'stateDir' | 'connectionLog' | 'idleTimeoutSeconds' | 'directIdleSeconds' | 'nodeSilenceSeconds'
  >;
  readonly machine: Platform;
  /** Checks a node from this host. */
  readonly probe: Probe;
  /** Whether the host may serve before the Lease is decided. */
  readonly isServing: boolean;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Ends the helper processes (nft, announcements), not the serving ones. */
  readonly lifetime: AbortSignal;
};

export async function makeHostParts(deps: HostPartsDeps): Promise<HostParts> {
  const { machine, probe, log, metrics, lifetime } = deps;
  const { stateDir, connectionLog, idleTimeoutSeconds, directIdleSeconds, nodeSilenceSeconds } = deps.options;
  const { exec, files, clock } = machine;
  const paths = statePaths(stateDir);
  const earlier = earlierStatePaths(stateDir);
  const health = makeHealth({
    probe,
    silenceMs: nodeSilenceSeconds * 1000,
    clock,
    log: log.child({ part: 'health' }),
    metrics,
  });
  const proxy = makeHaproxy({
    folder: haproxyFolder(machine.runFolder),
    earlierFolder: earlier.haproxy,
    descriptorLimit: await descriptorLimit(files),
    idleTimeoutSeconds,
    connectionLog,
    account: await haproxyAccount(files),
    hasIpv6: (await files.read('/proc/net/if_inet6')) !== undefined,
    health: health.families,
    exec,
    files,
    clock,
    log: log.child({ part: 'haproxy' }),
    metrics,
  });
  const addressLog = log.child({ part: 'addresses' });
  const record = makePlacementRecord({
    path: paths.placement,
    earlierPath: earlier.addresses,
    files,
    log: addressLog,
  });
  const network = makeNetwork({ exec, files, record, clock, log: addressLog });
  const placement = makePlacement({ exec, network, clock, log: addressLog, lifetime });
  const { links } = network;
  const duplicateProbe = makeDuplicateProbe({ exec, clock, links });
  const advertiser = makeL2Advertiser({
    sender: makeFrameSender({ exec, clock, log: addressLog, lifetime }),
    duplicates: makeDuplicateWatch({ probe: duplicateProbe, clock, log: addressLog }),
    defence: makeDefence({ hear: (signal) => hearAnnouncements(exec, signal), links, clock, log: addressLog }),
    links,
    clock,
  });
  const host = makeHost({ exec, log });
  const steering = makeSteering({
    host,
    isBridgeFiltered: makeBridgeFilter(files),
    exec,
    clock,
    log: log.child({ part: 'nftables' }),
    metrics,
    lifetime,
  });
  const silenceMs = nodeSilenceSeconds * 1000;
  const silentSince = (node: NodeName, family: Family): number | undefined => health.families[family].silentSince(node);
  let serviceCidrs: readonly IpRange[] = [];
  const lastingLinks = makeLastingLinks({
    interfaces: () => network.memory.state().interfaces,
    clock,
    lifetime,
    onEnd: () => direct.noteFacts(),
  });
  const direct = makeDirect({
    exec,
    health,
    host,
    silentSince,
    probe,
    silenceMs,
    idleSeconds: directIdleSeconds,
    gate: makeGate({ makeKubeProxy: () => makeKubeProxy({ clock }), clock }),
    ...lastingLinks,
    answering: makeAnsweringNodes({
      probe: makeAnswerProbe({ exec, clock }),
      mtuProbe: makeMtuProbe({ exec, clock }),
      record: await readAnsweringNodes({ path: paths.answeringNodes, files, log }),
      clock,
      log: log.child({ part: 'direct' }),
    }),
    own: () => network.addresses().own,
    primary: () => network.addresses().primary,
    serviceCidrs: () => serviceCidrs,
    clock,
    log: log.child({ part: 'direct' }),
    metrics,
    lifetime,
  });
  const nat = makeNat({
    exec,
    health,
    silentSince,
    silenceMs,
    own: () => network.addresses().own,
    links: () => links.text(),
    clock,
    log: log.child({ part: 'nat' }),
    metrics,
    lifetime,
  });
  const savedTable = makeTableFile({
    paths,
    earlier,
    placed: () => record.read(),
    files,
    log,
  });
  const notePath = unsavedTablePath(machine.runFolder);
  const agent = makeAgent({
    proxy,
    steering,
    direct,
    network,
    nat,
    placement,
    expiry: placement,
    advertiser,
    duplicateProbe,
    host,
    health,
    confirmations: makeConfirmations({ ask: makeAskHealthCheckPort({ clock }), health, clock }),
    tableFile: makeNotedTableFile(savedTable, { notePath, files, log }),
    isServing: deps.isServing,
    clock,
    log: log.child({ part: 'agent' }),
    metrics,
  });
  const noteServiceCidrs = (ranges: readonly IpRange[]): void => {
    serviceCidrs = ranges;
    direct.noteFacts();
  };
  return { proxy, steering, direct, nat, network, links, placement, host, agent, noteServiceCidrs };
}

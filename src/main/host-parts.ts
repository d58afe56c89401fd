import { type Agent, makeAgent } from '../agent/agent.ts';
import { type HostAnnouncer, makeAnnouncer } from '../announce/host/announcer.ts';
import { makeHaproxy } from '../dataplane/haproxy/haproxy.ts';
import { makeHost } from '../dataplane/host/host.ts';
import { makeClassifier } from '../dataplane/nftables/classifier.ts';
import type { Classifier, Host } from '../ports/host.ts';
import type { Log } from '../ports/log.ts';
import type { Metrics } from '../ports/metrics.ts';
import type { Proxy } from '../ports/proxy.ts';
import { descriptorLimit } from '../cli/descriptors.ts';
import { type Machine, statePaths } from '../cli/machine.ts';
import { makeTableFile } from '../state/table.ts';

/** Everything that works on this host, built from its state directory. */
export type HostParts = {
  readonly proxy: Proxy;
  readonly classifier: Classifier;
  readonly announcer: HostAnnouncer;
  readonly host: Host;
  readonly agent: Agent;
};

export type HostPartsDeps = {
  readonly machine: Machine;
  readonly stateDir: string;
  readonly idleTimeoutSeconds: number;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Ends the helpers that run along (nft, announcements), not what serves. */
  readonly lifetime: AbortSignal;
};

export async function makeHostParts({
  machine,
  stateDir,
  idleTimeoutSeconds,
  log,
  metrics,
  lifetime,
}: HostPartsDeps): Promise<HostParts> {
  const { exec, files, clock } = machine;
  const paths = statePaths(stateDir);
  const proxy = makeHaproxy({
    folder: paths.haproxy,
    descriptorLimit: await descriptorLimit(files),
    idleTimeoutSeconds,
    account: await haproxyAccount(machine),
    hasIpv6: (await files.read('/proc/net/if_inet6')) !== undefined,
    exec,
    files,
    clock,
    log: log.child({ part: 'haproxy' }),
    metrics,
  });
  const announcer = makeAnnouncer({
    exec,
    files,
    folder: stateDir,
    clock,
    log: log.child({ part: 'addresses' }),
    lifetime,
  });
  const classifier = makeClassifier({
    exec,
    clock,
    log: log.child({ part: 'nftables' }),
    metrics,
    lifetime,
    ownAddresses: () => announcer.knownOwn(),
  });
  const host = makeHost({ exec, ownAddresses: (signal) => announcer.ownAddresses(signal), log });
  const tableFile = makeTableFile({ rowsPath: paths.rows, nodesPath: paths.nodes, files, log });
  const agent = makeAgent({
    proxy,
    classifier,
    announcer,
    host,
    tableFile,
    clock,
    log: log.child({ part: 'agent' }),
    metrics,
  });
  return { proxy, classifier, announcer, host, agent };
}

/** The account that HAProxy's package brings; its workers need no rights once they listen. */
async function haproxyAccount({ files }: Machine): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  const line = /^haproxy:[^:]*:(\d+):(\d+):/m.exec((await files.read('/etc/passwd')) ?? '');
  return line === null ? undefined : { uid: Number(line[1]), gid: Number(line[2]) };
}

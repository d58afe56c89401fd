import type { CommandDeps } from '../daemon/platform.ts';
import type { KubeProxy } from '../health/kube-proxy-sync.ts';
import type { Probe } from '../health/probe.ts';
import { checkCluster, type CheckedCluster } from './check/cluster.ts';
import { type Connect, openConnection } from './check/connection.ts';
import { checkDirect } from './check/direct.ts';
import type { GroupedFinding } from './check/finding.ts';
import { checkHost, type CheckedHost } from './check/host.ts';
import { type CheckView, type Inspect, makeInspect } from './check/inspect.ts';
import { checkPool } from './check/pool.ts';
import { makeScreen, type ScreenDeps } from './check/screen.ts';
import type { RunOptions } from './options.ts';

export type CheckDeps = CommandDeps &
  Omit<ScreenDeps, 'clock'> & {
    readonly connect: Connect;
    readonly probe: Probe;
    readonly makeKubeProxy: () => KubeProxy;
    /** One JSON document at the end, in place of text as it goes. */
    readonly isJson: boolean;
  };

/**
 * `furiwake check`: whether this host and the cluster are ready; changes nothing. The exit code: 1 if there is a problem.
 */
export async function check(options: RunOptions, deps: CheckDeps, signal: AbortSignal): Promise<number> {
  const findings: GroupedFinding[] = [];
  const screen = deps.isJson ? undefined : makeScreen({ ...deps, clock: deps.machine.clock });
  const view: CheckView = {
    begin: (group, what) => screen?.begin(group, what) ?? { [Symbol.dispose]: () => undefined },
    show: (finding) => {
      findings.push(finding);
      screen?.show(finding);
    },
  };
  const inspect = makeInspect(view, signal);
  const host = await checkHost(options, deps.machine, inspect, signal);
  await using connection = await openConnection(options, deps.connect, inspect);
  const cluster = await checkCluster(options, connection, deps, inspect, signal);
  await inspect('Nodes and Services', 'direct', lookAtDirect(host, cluster, deps, signal));
  await checkPool(options, { ...cluster, host, connection }, deps.machine, inspect, signal);
  if (screen === undefined) deps.write(`${JSON.stringify(findings, undefined, 2)}\n`);
  else screen.conclude();
  return findings.some(({ mark }) => mark === 'problem') ? 1 : 0;
}

function lookAtDirect(
  { network, lacks }: CheckedHost,
  { nodes, services, endpoints }: CheckedCluster,
  { machine, makeKubeProxy }: CheckDeps,
  signal: AbortSignal,
): Parameters<Inspect>[2] {
  const lack = lacks('nft');
  if (lack !== undefined) return lack;
  if (typeof network === 'string') return network;
  if (typeof nodes === 'string') return nodes;
  const known = typeof services === 'string' ? [] : services;
  return () => checkDirect({ nodes, services: known, endpoints, network }, machine, makeKubeProxy, signal);
}

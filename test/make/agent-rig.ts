import { onTestFinished } from 'vitest';
import { type Agent, makeAgent } from '../../src/agent/agent.ts';
import { earlierStatePaths, statePaths } from '../../src/daemon/platform.ts';
import { serviceKey } from '../../src/core/model/names.ts';
import type { Listener, TrafficTable } from '../../src/core/traffic/table.ts';
import { makeConfirmations } from '../../src/health/confirmations.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { makeTableFile } from '../../src/state/table.ts';
import { filesOf } from '../sim/harness.ts';
import { type RecordedLog, recordLog, recordMetrics } from '../sim/observers.ts';
import { type VirtualClock, virtualClock } from '../sim/virtual-clock.ts';
import { type FakeHostPorts, makeHostPorts } from './host-ports.ts';
import * as make from './table.ts';

/** A listener of a Service `default/NAME`. */
export function listener(address: string, port: number, service: string, more: Partial<Listener> = {}): Listener {
  return make.listener(address, port, 30_000 + port, { service: serviceKey('default', service), ...more });
}

/** A table with one node. */
export function table(...listeners: readonly Listener[]): TrafficTable {
  return make.tableOf(listeners, [make.node('n1', '192.0.2.11')]);
}

export type AgentRig<C extends Clock = Clock> = {
  readonly agent: Agent;
  readonly ports: FakeHostPorts;
  readonly clock: C;
  readonly log: RecordedLog;
  readonly files: Map<string, string>;
};

/** The real agent over ports in memory. `files` and `ports` outlive it, as the state directory and the host do. */
export function makeAgentRig<C extends Clock>({
  clock,
  files = new Map(),
  ports = makeHostPorts(clock),
  isServing = true,
}: {
  readonly clock: C;
  readonly files?: Map<string, string>;
  readonly ports?: FakeHostPorts;
  readonly isServing?: boolean;
}): AgentRig<C> {
  const log = recordLog();
  const agent = makeAgent({
    ...ports,
    confirmations: makeConfirmations({ ask: async () => 'confirms', health: ports.health, clock }),
    tableFile: makeTableFile({
      paths: statePaths(''),
      earlier: earlierStatePaths(''),
      placed: async () => new Map(),
      files: filesOf(files),
      log,
    }),
    isServing,
    clock,
    log,
    metrics: recordMetrics(),
  });
  return { agent, ports, clock, log, files };
}

export type RunningAgent = AgentRig<VirtualClock>;

/** An agent that runs until the test ends. */
export function startAgent(options: Partial<Parameters<typeof makeAgentRig<VirtualClock>>[0]> = {}): RunningAgent {
  const rig = makeAgentRig({ clock: virtualClock(), ...options });
  const stop = new AbortController();
  const running = rig.agent.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await rig.clock.drive(running);
  });
  return rig;
}

/** Publishes, and waits until the agent has done what it can do at once. */
export async function publish(rig: RunningAgent, ...listeners: readonly Listener[]): Promise<RunningAgent> {
  rig.agent.publish(table(...listeners));
  await rig.clock.advance(0);
  await rig.clock.advance(0);
  return rig;
}

/** What the host reports of a listener: `ready`, why not, or nothing. */
export function answer({ agent }: RunningAgent, wanted: Listener): string {
  const report = agent.report().listeners.get(wanted.key);
  if (report === undefined) return 'nothing';
  if (report.refusal?.revision === wanted.revision) return report.refusal.verdict.message;
  return report.revision === wanted.revision ? 'ready' : 'pending';
}

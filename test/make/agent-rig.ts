import { type Agent, makeAgent } from '../../src/agent/agent.ts';
import { serviceKey } from '../../src/core/model/names.ts';
import type { Listener, TrafficTable } from '../../src/core/traffic/table.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { makeTableFile } from '../../src/state/table.ts';
import { filesOf } from '../sim/harness.ts';
import { type RecordedLog, recordLog, recordMetrics } from '../sim/observers.ts';
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

/** The real agent over ports in memory. `files` outlive it, as the state directory does. */
export function makeAgentRig<C extends Clock>({
  clock,
  files = new Map(),
  isServing = true,
}: {
  readonly clock: C;
  readonly files?: Map<string, string>;
  readonly isServing?: boolean;
}): AgentRig<C> {
  const ports = makeHostPorts();
  const log = recordLog();
  const agent = makeAgent({
    ...ports,
    tableFile: makeTableFile({
      listenersPath: '/listeners',
      nodesPath: '/nodes',
      earlier: { rowsPath: '/rows', nodesPath: '/nodes.json', placed: async () => new Map() },
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

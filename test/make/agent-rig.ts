import type { NodeName, ServiceKey } from '../../src/core/model/names.ts';
import { listenerKey, type Row, tableOf, type TrafficTable } from '../../src/core/traffic/table.ts';
import { type Agent, makeAgent } from '../../src/agent/agent.ts';
import { makeTableFile } from '../../src/state/table.ts';
import { filesOf } from '../sim/harness.ts';
import { recordLog, recordMetrics } from '../sim/observers.ts';
import { virtualClock, type VirtualClock } from '../sim/virtual-clock.ts';
import { ip } from './service.ts';

export function row(address: string, port: number, service: string): Row {
  const key = listenerKey(ip(address), port, 'TCP');
  return {
    key,
    address: ip(address),
    protocol: 'TCP',
    port,
    service: service as ServiceKey,
    backend: { kind: 'nodes', family: 4, nodePort: 30_000 + port },
    sourceRanges: undefined,
    maxConnections: undefined,
  };
}

export function table(...rows: readonly Row[]): TrafficTable {
  return tableOf(rows, { 4: [{ node: 'n1' as NodeName, address: ip('192.0.2.11'), state: 'active' }], 6: [] });
}

export type AgentRig = {
  readonly agent: Agent;
  readonly steps: string[];
  /** Tables that the kernel was given. */
  readonly classified: readonly TrafficTable[];
  /** The addresses that are ours, as the kernel was told last. */
  added: readonly string[];
  /** Those that the host has itself. */
  own: readonly string[];
  /** Those that the announcer never added. */
  unrecorded: readonly string[];
  refused: ReadonlyMap<string, string>;
  /** What happens to the host when its addresses are audited. */
  whenAudited: () => void;
  /** What every step waits for. */
  gate: Promise<void>;
  readonly clock: VirtualClock;
  failing: string | undefined;
  isHaproxyUp: boolean;
  readonly files: Map<string, string>;
};

/** An agent over ports that note what they are asked, in order, and can be told to fail. */
export function makeAgentRig(files: Map<string, string> = new Map()): AgentRig {
  const steps: string[] = [];
  const classified: TrafficTable[] = [];
  const clock = virtualClock();
  const log = recordLog();
  const rig: Pick<
    AgentRig,
    'failing' | 'isHaproxyUp' | 'added' | 'own' | 'unrecorded' | 'refused' | 'whenAudited' | 'gate'
  > = {
    failing: undefined,
    isHaproxyUp: true,
    added: [],
    own: [],
    unrecorded: [],
    refused: new Map(),
    whenAudited: () => undefined,
    gate: Promise.resolve(),
  };
  const step = (name: string) => async (): Promise<void> => {
    steps.push(name);
    await rig.gate;
    if (rig.failing === name) throw new Error(`${name} failed`);
  };
  const never = (signal: AbortSignal): Promise<void> =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  const observed = (): never => {
    throw new Error('not asked here');
  };
  const agent = makeAgent({
    proxy: {
      portOf: () => 17_100,
      ensure: async () => {
        await step('proxy.ensure')();
        return 'started';
      },
      upsert: step('proxy.upsert'),
      prune: step('proxy.prune'),
      audit: async () => 0,
      run: never,
      observe: observed,
      isUp: () => rig.isHaproxyUp,
      stop: step('proxy.stop'),
    },
    classifier: {
      apply: (given, added) => {
        classified.push(given);
        rig.added = [...added.keys()];
        return step('classifier.apply')();
      },
      audit: async () => 0,
      run: never,
      remove: step('classifier.remove'),
    },
    announcer: {
      added: async (wanted) => wanted.with(rig.own.map((text) => [text, undefined])),
      recorded: async (wanted) => wanted.with(rig.unrecorded.map((text) => [text, undefined])),
      refused: () => rig.refused,
      prepare: step('announcer.prepare'),
      ensure: step('announcer.ensure'),
      release: step('announcer.release'),
      audit: async () => {
        rig.whenAudited();
        return 0;
      },
    },
    host: {
      facts: observed,
      endConnections: async (listeners) => void steps.push(`end ${listeners.map((each) => each.port).join(' ')}`),
    },
    tableFile: makeTableFile({ rowsPath: '/rows', nodesPath: '/nodes', files: filesOf(files), log }),
    clock,
    log,
    metrics: recordMetrics(),
  });
  return Object.assign(rig, { agent, steps, classified, clock, files });
}

import { probeFrom } from './lab-probe.ts';
import { mkdir } from 'node:fs/promises';
import { expect, vi } from 'vitest';
import type { Agent } from '../../src/agent/agent.ts';
import type { Listener } from '../../src/core/traffic/table.ts';
import { type HostParts, makeHostParts } from '../../src/main/host-parts.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import { systemFiles } from '../../src/main/node/files.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Exec } from '../../src/ports/exec.ts';
import type { Files } from '../../src/ports/files.ts';
import { makeMachine, makeOptions } from '../make/machine.ts';
import { node as tableNode, tableOf } from '../make/table.ts';
import { type RecordedLog, type RecordedMetrics, recordLog, recordMetrics } from '../sim/observers.ts';
import { type NetLab, startNetLab } from './net-lab.ts';
import { patience } from './patience.ts';

/** nodePort on which the node of the rig answers. */
export const webPort = 30_080;

/** A load-balancer host as `run` builds it: the real agent with HAProxy, nftables and addresses, and one node, by IPv4. */
export type HostRig = AsyncDisposable & {
  readonly lab: NetLab;
  readonly stateDir: string;
  readonly agent: Agent;
  readonly parts: HostParts;
  readonly log: RecordedLog;
  readonly metrics: RecordedMetrics;
  publish(...listeners: readonly Listener[]): void;
  /** What the client gets from a port of an address (80): the text, or the code of the error. */
  fetch(address: string, port?: number): Promise<string>;
  /** Expects that the client gets the node's answer, at once. */
  answers(address: string): Promise<void>;
  /** Waits until the client gets the node's answer. */
  untilAnswers(address: string, port?: number): Promise<void>;
};

export async function startHostRig({
  wrap = (exec) => exec,
  clock = systemClock,
  files = systemFiles,
  prepare = async () => undefined,
}: {
  /** What the host's programs do differently. */
  readonly wrap?: (exec: Exec) => Exec;
  readonly clock?: Clock;
  readonly files?: Files;
  /** Runs before the host starts. */
  readonly prepare?: (lab: NetLab, stateDir: string) => Promise<void>;
} = {}): Promise<HostRig> {
  const lab = await startNetLab({ nodes: 1 });
  const lifetime = new AbortController();
  const [n1] = lab.nodes;
  await n1?.ask({ do: 'serveHttp', port: webPort, body: 'n1' });
  await n1?.ask({ do: 'serveHttp', port: 10_256, body: '{}' });
  const stateDir = `${lab.folder}/state`;
  await mkdir(stateDir);
  await prepare(lab, stateDir);
  const [log, metrics] = [recordLog(), recordMetrics()];
  const parts = await makeHostParts({
    machine: makeMachine({
      clock,
      exec: wrap(lab.balancer.execPort),
      files,
      runFolder: `${lab.folder}/run`,
    }),
    probe: probeFrom(lab.balancer),
    options: makeOptions({ stateDir }),
    isServing: true,
    log,
    metrics,
    lifetime: lifetime.signal,
  });
  const { agent } = parts;
  const running = agent.run(lifetime.signal);
  const fetch = async (address: string, port = 80): Promise<string> => {
    const { text, error } = await lab.client.ask({ do: 'fetch', address, port, timeoutMs: 3_000 });
    return text ?? error ?? '';
  };
  return {
    lab,
    stateDir,
    agent,
    parts,
    log,
    metrics,
    publish: (...listeners) => agent.publish(tableOf(listeners, [tableNode('n1', '10.20.0.11')])),
    fetch,
    answers: async (address) => expect(await fetch(address)).toBe('n1'),
    untilAnswers: (address, port) => vi.waitFor(async () => expect(await fetch(address, port)).toBe('n1'), patience),
    [Symbol.asyncDispose]: async () => {
      lifetime.abort();
      await running;
      await lab[Symbol.asyncDispose]();
    },
  };
}

import { onTestFinished } from 'vitest';
import type { NodeName } from '../../src/core/model/names.ts';
import type { TrafficTable } from '../../src/core/traffic/table.ts';
import { type HealthModule, makeHealth } from '../../src/health/health.ts';
import type { CheckAnswer, FamilyHealth } from '../../src/ports/health.ts';
import { type RecordedLog, type RecordedMetrics, recordLog, recordMetrics } from '../sim/observers.ts';
import { virtualClock } from '../sim/virtual-clock.ts';
import { probeBy } from './probe-by.ts';
import { addressOf, node, nodeName } from './table.ts';

const { signal } = new AbortController();
const nodes = new Map([
  [nodeName('n1'), addressOf('192.0.2.11')],
  [nodeName('n2'), addressOf('192.0.2.12')],
]);

export type HealthScene = {
  readonly health: HealthModule;
  readonly log: RecordedLog;
  readonly metrics: RecordedMetrics;
  probed(...answers: readonly CheckAnswer[]): void;
  /** While the own probe waits for its answers, HAProxy reports these. */
  reportedMeanwhile(...answers: readonly CheckAnswer[]): void;
  drain(...names: readonly string[]): void;
  setWallClock(byMs: number): void;
  changes(): number;
  /** A second; `undefined`: not known, as after a restart of HAProxy, which then considers the node up. */
  round(...answers: readonly (CheckAnswer | undefined)[]): ReturnType<FamilyHealth['round']>;
  /** HAProxy reports nothing for so long; the module judges by itself. */
  away(seconds: number): Promise<void>;
  /** Until the test ends. */
  run(options?: { readonly nodesAfterMs?: number }): void;
  probes(): number;
  messages(): readonly string[];
};

/** The health of two IPv4 nodes; each `round` is a second with the given results of the checks. */
export function makeHealthScene(): HealthScene {
  const clock = virtualClock();
  const log = recordLog();
  const metrics = recordMetrics();
  let probed: readonly CheckAnswer[] = ['ok', 'ok'];
  let meanwhile: readonly CheckAnswer[] | undefined;
  let probes = 0;
  const ownProbe = probeBy((address) => {
    probes++;
    return probed[address === '192.0.2.11' ? 0 : 1] ?? 'alive';
  });
  const health = makeHealth({
    probe: async (targets, until) => {
      const answers = meanwhile;
      meanwhile = undefined; // a report may probe, too
      if (answers !== undefined && targets.size > 0) await report(answers);
      meanwhile = answers;
      return await ownProbe(targets, until);
    },
    silenceMs: 5000,
    clock,
    log,
    metrics,
  });
  let draining: ReadonlySet<NodeName> = new Set();
  let changes = 0;
  health.subscribe(() => changes++);
  const report = async (
    answers: readonly (CheckAnswer | undefined)[],
  ): Promise<Awaited<ReturnType<FamilyHealth['round']>>> => {
    const checks = new Map(
      [...nodes.keys()].map((name, index) => {
        const answer = answers[index];
        return [name, { isUp: answer === undefined || answer === 'ok', answer }];
      }),
    );
    return await health.families[4].round({ nodes, draining, gone: new Map(), checks }, signal);
  };
  return {
    health,
    log,
    metrics,
    probed: (...answers: readonly CheckAnswer[]) => {
      probed = answers;
    },
    reportedMeanwhile: (...answers: readonly CheckAnswer[]) => {
      meanwhile = answers;
    },
    drain: (...names: readonly string[]) => {
      draining = new Set(names.map(nodeName));
    },
    setWallClock: (byMs: number) => clock.setWallClock(byMs),
    changes: () => changes,
    round: async (...answers: readonly (CheckAnswer | undefined)[]) => {
      await clock.advance(1000);
      return await report(answers);
    },
    away: async (seconds: number) => {
      await clock.advance(seconds * 1000);
    },
    run: ({ nodesAfterMs = 0 } = {}) => {
      const known = (): TrafficTable['nodes'] => {
        if (clock.monotonic() < nodesAfterMs) return new Map();
        const both = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];
        return new Map(
          both.map((each) => [each.name, { ...each, state: draining.has(each.name) ? 'drain' : 'active' }]),
        );
      };
      const stop = new AbortController();
      const running = Promise.allSettled([health.run(known, stop.signal)]);
      onTestFinished(async () => {
        stop.abort();
        await running;
      });
    },
    probes: () => probes,
    messages: () => log.lines.map(({ level, message }) => `${level} ${message}`),
  };
}

import { makeFakeHost } from '../test/make/fake-host.ts';
import { listener, tableOf } from '../test/make/table.ts';
import { startNetLab } from '../test/netns/net-lab.ts';
import { targetOf } from '../test/netns/steering-rig.ts';
import { recordLog, recordMetrics } from '../test/sim/observers.ts';
import { parseCidr } from '../src/core/ip/range.ts';
import { makeSteering } from '../src/dataplane/nftables/steering.ts';
import { systemClock } from '../src/main/node/clock.ts';
import type { SteeringTarget } from '../src/ports/steering.ts';
import type { Bench } from './bench.ts';
import { median } from './statistics.ts';

const repetitions = 5;
const [ports, ranges] = [100, 500];

/** A Service of many ports with many source ranges, in front of HAProxy: until the kernel has it, and a change of one range. */
export const sourceRanges: Bench = {
  name: 'source-ranges',
  title: `a Service of ${ports} ports with ${ranges} source ranges, medians of ${repetitions}`,
  run: async ({ progress, signal }) => {
    using step = progress.step('Loading source ranges');
    const [loads, changes]: [number[], number[]] = [[], []];
    const measure = async (times: number[], work: () => Promise<unknown>): Promise<void> => {
      const startMs = performance.now();
      await work();
      times.push(performance.now() - startMs);
    };
    for (let round = 1; round <= repetitions; round++) {
      step.update(`round ${round} of ${repetitions}`);
      await using lab = await startNetLab({ nodes: 0 });
      const lifetime = new AbortController();
      const steering = makeSteering({
        host: makeFakeHost({ listening: async () => [] }),
        isBridgeFiltered: async () => false,
        exec: lab.balancer.execPort,
        clock: systemClock,
        log: recordLog(),
        metrics: recordMetrics(),
        lifetime: lifetime.signal,
      });
      const apply = async (target: SteeringTarget): Promise<void> => {
        const [refusal] = (await steering.apply(target, signal)).values();
        if (refusal !== undefined) throw new Error(refusal);
      };
      await measure(loads, () => apply(targetWith('203.0.113.0/24')));
      await measure(changes, () => apply(targetWith('203.0.113.0/25')));
      lifetime.abort();
    }
    step.done();
    return [
      { what: 'all ranges in force', value: median(loads), unit: 'ms', target: { atMost: 300 } },
      { what: 'one range changed', value: median(changes), unit: 'ms' },
    ];
  },
};

/** The Service, with networks of different sizes and this one. */
function targetWith(last: string): SteeringTarget {
  const others = Array.from(
    { length: ranges - 1 },
    (_, index) => `10.${index >> 3}.${(index & 7) * 32}.0/${20 + (index % 9)}`,
  );
  const sources = [...others, last].flatMap((text) => parseCidr(text) ?? []);
  const listeners = Array.from({ length: ports }, (_, port) =>
    listener('10.50.0.1', 1_000 + port, 30_000, { sourceRanges: sources }),
  );
  return targetOf(tableOf(listeners));
}

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { listener } from '../../test/make/agent-rig.ts';
import { type FaultAction, foundFaults, type ScheduledAction, type Wish } from '../../test/make/found-faults.ts';
import { breakable, type FaultyHost, faultySteps, type Site, startFaultyHost } from '../../test/make/faulty-host.ts';
import { ranges } from '../../test/make/service.ts';
import { directListener } from '../../test/make/table.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { serviceKey } from '../core/model/names.ts';
import type { Listener } from '../core/traffic/table.ts';

/*
 * A host whose parts fail, hang and recover in any order, while Services are created, changed and deleted, ports change hands, and the
 * process restarts: no connection of one Service ever leads to another, no address is announced that may not be, what is said
 * to be served is, nothing runs without a pause, and all is as wanted after the last fault has ended.
 */
const wish = fc.record({
  index: fc.nat({ max: 7 }),
  owner: fc.constantFrom('x', 'y'),
  range: fc.constantFrom(undefined, '10.0.0.0/8', '172.16.0.0/12'),
  targetPort: fc.constantFrom(31_000, 32_000),
  plane: fc.constantFrom(undefined, undefined, 'nat' as const, 'direct' as const, 'standIn' as const),
});

const action = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      wishes: fc.uniqueArray(wish, { selector: ({ index }) => index }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('fault' as const),
      step: fc.constantFrom(...faultySteps),
      kind: fc.constantFrom('fails' as const, 'flaps' as const, 'hangs' as const, 'slow' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('clear' as const), step: fc.constantFrom(...faultySteps) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('refuse' as const),
      tool: fc.constantFrom('proxy' as const, 'steering' as const),
      port: fc.constantFrom(80, 81, 82, 83, 91, undefined),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('serve' as const), isServing: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('restart' as const, 'network' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('break' as const), part: fc.constantFrom(...breakable) }) },
);

const schedule: fc.Arbitrary<ScheduledAction[]> = fc.array(
  fc.record({ action, ms: fc.constantFrom(0, 1, 300, 1_100, 2_500, 8_000, 25_000) }),
  {
    minLength: 5,
    maxLength: 40,
  },
);

/** Those of `direct` without a stand-in may have no NodePort. */
const planes = {
  nat: { dataplane: 'nat' },
  direct: { dataplane: 'direct' },
  standIn: { dataplane: 'direct', standIn: 'haproxy' },
} as const;

function listenerOf({ index, owner, range, targetPort, plane }: Wish): Listener {
  const address = `192.0.2.${50 + (index % 4)}`;
  const of: Partial<Listener> = plane === undefined ? {} : planes[plane];
  const more = { sourceRanges: range === undefined ? undefined : ranges(range), targetPort, ...of };
  if (index < 4) return listener(address, 80 + index, `t${index}${owner}`, more);
  if (index < 6) {
    const udp =
      of.dataplane === 'direct'
        ? { ...of, standIn: of.standIn !== undefined ? ('nat' as const) : undefined }
        : planes.nat;
    return listener(address, 80 + index, `n${index}${owner}`, { ...more, protocol: 'UDP', ...udp });
  }
  if (index === 6)
    return directListener(address, 90, {
      service: serviceKey('default', `d${owner}`),
      sourceRanges: more.sourceRanges,
    });
  return listener(address, 91, `s${owner}`, more);
}

async function perform(host: FaultyHost, act: FaultAction): Promise<void> {
  if (act.do === 'publish') host.publish(act.wishes.map(listenerOf));
  else if (act.do === 'fault') host.fault(act.step, act.kind);
  else if (act.do === 'clear') host.clear(act.step);
  else if (act.do === 'refuse') host.refuse(act.tool, act.port);
  else if (act.do === 'serve') host.setServing(act.isServing);
  else if (act.do === 'restart') await host.restart();
  else if (act.do === 'break') host.breakPart(act.part);
  else host.rig.ports.tellNetwork('addresses');
}

const runs = Number(process.env['RUNS'] ?? 60);

test(
  'faults that begin and end in any order lead no connection to another Service, and leave nothing behind',
  { timeout: Math.max(600_000, runs * 1_000) },
  async () => {
    await fc.assert(
      fc.asyncProperty(schedule, fc.constantFrom('small' as const, 'large' as const), async (steps, site) => {
        const clock = virtualClock();
        const host = startFaultyHost(clock, site);
        host.publish([]);
        for (const { action: act, ms } of steps) {
          await perform(host, act);
          await clock.advance(ms);
          expect(host.violations()).toEqual([]);
        }
        await host.recover();
        expect(host.differences()).toEqual([]);
        const { steps: calls } = host.rig.ports;
        const before = calls.length;
        await clock.advance(600_000);
        expect(calls.slice(before).filter((call) => !/\.(?:audit|check)$/.test(call))).toEqual([]);
        await host.stop();
      }),
      {
        numRuns: runs,
        examples: foundFaults.flatMap((steps): [ScheduledAction[], Site][] => [
          [[...steps], 'small'],
          [[...steps], 'large'],
        ]),
      },
    );
  },
);

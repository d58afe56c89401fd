import fc from 'fast-check';
import { expect, test } from 'vitest';
import { listener } from '../../test/make/agent-rig.ts';
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

type Wish = typeof wish extends fc.Arbitrary<infer W> ? W : never;
type FaultAction = typeof action extends fc.Arbitrary<infer A> ? A : never;

const schedule = fc.array(fc.record({ action, ms: fc.constantFrom(0, 1, 300, 1_100, 2_500, 8_000, 25_000) }), {
  minLength: 5,
  maxLength: 40,
});

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

type ScheduledAction = { readonly action: FaultAction; readonly ms: number };
const web = { index: 0, owner: 'x', range: undefined, targetPort: 31_000, plane: undefined } as const;
const at = (ms: number, of: FaultAction): ScheduledAction => ({ action: of, ms });
const publish = (...wishes: Wish[]): FaultAction => ({ do: 'publish', wishes });
const fault = (step: (typeof faultySteps)[number], kind: 'fails' | 'flaps' | 'hangs' | 'slow'): FaultAction => ({
  do: 'fault',
  step,
  kind,
});

/** Found by many runs: each has violated the property. */
const found: readonly (readonly ScheduledAction[])[] = [
  // Moved to HAProxy while direct failed, then refused by nftables, which had it already: HAProxy lost it.
  [
    at(0, publish({ ...web, plane: 'direct' })),
    at(0, fault('direct.apply', 'fails')),
    at(0, publish(web)),
    at(0, { do: 'refuse', tool: 'steering', port: 80 }),
    at(0, publish(web)),
  ],
  // Wanted again while HAProxy still had it, then deleted: its connections were never ended.
  [
    at(0, publish(web)),
    at(0, fault('proxy.prune', 'hangs')),
    at(0, publish()),
    at(0, publish(web)),
    at(0, fault('steering.apply', 'hangs')),
    at(8_000, { do: 'serve', isServing: false }),
    at(0, { do: 'clear', step: 'proxy.prune' }),
    at(0, { do: 'refuse', tool: 'proxy', port: 80 }),
    at(0, publish()),
  ],
  // Withdrawn and served again during one pass: ready, and its address was missing.
  [
    at(0, publish({ ...web, index: 6, owner: 'y' })),
    at(1_100, fault('proxy.upsert', 'hangs')),
    at(0, publish(web, { ...web, index: 6, owner: 'y' })),
    at(0, { do: 'serve', isServing: false }),
    at(0, { do: 'serve', isServing: true }),
  ],
  // Changed after a restart, while nftables refuses it: ready, and HAProxy had the former nodePort.
  [
    at(0, { do: 'refuse', tool: 'steering', port: 82 }),
    at(0, publish({ ...web, index: 2, targetPort: 32_000 })),
    at(0, { do: 'restart' }),
    at(0, publish({ ...web, index: 2 })),
    at(0, { do: 'refuse', tool: 'steering', port: 80 }),
    at(8_000, fault('proxy.upsert', 'fails')),
  ],
  // Deleted and wanted again while nftables was slow: ready at once, and its address was missing.
  [
    at(25_000, publish()),
    at(8_000, fault('nat.apply', 'slow')),
    at(25_000, fault('steering.audit', 'hangs')),
    at(0, publish({ ...web, index: 3 })),
    at(8_000, fault('proxy.upsert', 'fails')),
    at(0, publish()),
    at(2_500, { do: 'clear', step: 'proxy.upsert' }),
    at(0, publish({ ...web, index: 3 })),
  ],
  // Deleted while nat was slow to take it from HAProxy: it counted as removed, and nat had it.
  [
    at(0, publish(web)),
    at(0, fault('nat.apply', 'fails')),
    at(0, publish({ ...web, plane: 'nat' })),
    at(1_100, fault('nat.apply', 'slow')),
    at(0, publish()),
    at(0, fault('proxy.upsert', 'slow')),
    at(0, fault('nat.apply', 'hangs')),
    at(8_000, fault('placement.audit', 'fails')),
  ],
  // Moved from nat to direct before its address was added, then deleted: another Service got the port, and direct still had it.
  [
    at(0, fault('placement.audit', 'hangs')),
    at(0, publish({ ...web, index: 5, owner: 'y' })),
    at(25_000, publish({ ...web, index: 5, owner: 'y', plane: 'direct' })),
    at(0, fault('direct.apply', 'fails')),
    at(0, publish()),
    at(0, publish({ ...web, index: 5 })),
  ],
  // Moved to nat while its address could not be added, and back while HAProxy refused it: it was steered to HAProxy nevertheless.
  [
    at(0, fault('placement.add', 'fails')),
    at(0, publish({ ...web, index: 3 })),
    at(0, publish({ ...web, index: 3, plane: 'nat' })),
    at(0, { do: 'refuse', tool: 'proxy', port: 83 }),
    at(0, publish({ ...web, index: 3 })),
  ],
  // HAProxy refuses the listener after its death.
  [
    at(0, publish(web)),
    at(0, { do: 'break', part: 'HAProxy' }),
    at(0, { do: 'refuse', tool: 'proxy', port: 80 }),
    at(25_000, { do: 'network' }),
    at(25_000, { do: 'network' }),
    at(25_000, { do: 'serve', isServing: false }),
  ],
  // Withdrawn, then it served again while placement was slow to remove: the next audit announced what was removed.
  [
    at(0, fault('proxy.upsert', 'slow')),
    at(0, fault('placement.remove', 'slow')),
    at(1_100, publish(web)),
    at(2_500, fault('steering.apply', 'slow')),
    at(1_100, { do: 'clear', step: 'proxy.upsert' }),
    at(8_000, fault('proxy.check', 'fails')),
    at(300, fault('proxy.upsert', 'slow')),
    at(1_100, { do: 'clear', step: 'proxy.check' }),
    at(0, { do: 'serve', isServing: false }),
    at(1_100, publish()),
    at(0, fault('proxy.upsert', 'fails')),
    at(2_500, { do: 'serve', isServing: true }),
    at(1_100, fault('proxy.upsert', 'fails')),
  ],
  // Withdrawn, then it served again while placement was slow to add nothing: it announced an address that was missing.
  [
    at(0, { do: 'refuse', tool: 'steering', port: 91 }),
    at(0, publish({ ...web, index: 7, owner: 'y', plane: 'nat' })),
    at(0, fault('direct.apply', 'flaps')),
    at(0, publish({ ...web, index: 7, owner: 'y' })),
    at(0, fault('placement.add', 'slow')),
    at(25_000, { do: 'serve', isServing: false }),
    at(0, publish()),
    at(0, { do: 'clear', step: 'proxy.upsert' }),
    at(0, { do: 'serve', isServing: true }),
    at(2_500, publish()),
  ],
  // New at nat when another one moved there while nft had not answered, then deleted: nat still had it.
  [
    at(0, { do: 'serve', isServing: false }),
    at(0, publish({ ...web, index: 3, owner: 'x', targetPort: 31_000 })),
    at(0, fault('steering.apply', 'hangs')),
    at(2_500, { do: 'serve', isServing: true }),
    at(
      2_500,
      publish(
        { ...web, index: 4, owner: 'x', targetPort: 31_000 },
        { ...web, index: 3, owner: 'x', targetPort: 31_000, plane: 'nat' },
      ),
    ),
    at(0, publish()),
    at(0, publish()),
    at(0, fault('proxy.upsert', 'fails')),
    at(0, { do: 'clear', step: 'proxy.upsert' }),
    at(0, { do: 'refuse', tool: 'proxy', port: 80 }),
  ],
  // Moved to nat, which took it and then failed, and back while nftables refused it: nat lost it.
  [
    at(0, publish({ ...web, index: 2 })),
    at(0, { do: 'refuse', tool: 'steering', port: 82 }),
    at(0, fault('nat.apply', 'flaps')),
    at(0, publish({ ...web, index: 2, plane: 'nat' })),
    at(1_100, publish({ ...web, index: 2 })),
    at(0, publish()),
  ],
  // It moved from nat to HAProxy, which failed, and another one the other way, while nftables failed: nat lost it.
  [
    at(0, publish({ ...web, index: 1, owner: 'y' }, { ...web, owner: 'y', plane: 'nat' })),
    at(0, fault('proxy.upsert', 'fails')),
    at(0, fault('steering.apply', 'fails')),
    at(0, publish({ ...web, owner: 'y' }, { ...web, index: 1, owner: 'y', plane: 'nat' })),
  ],
];

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
        examples: found.flatMap((steps): [ScheduledAction[], Site][] => [
          [[...steps], 'small'],
          [[...steps], 'large'],
        ]),
      },
    );
  },
);

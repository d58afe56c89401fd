import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { type Host, makeScene, type Scene, startLeading } from '../../test/make/leading-hosts.ts';
import { boxes } from '../../test/make/lease-schedule.ts';

const runs = Number(process.env['RUNS'] ?? 150);
vi.setConfig({ testTimeout: runs * 400 });

/** A host that is started for the first time when the schedule says so, and has one address once it has published a table. */
function makeBox(scene: Scene, identity: string) {
  const files = new Map<string, string>();
  let host: Host | undefined;
  let stop = new AbortController();
  let [knowsOthers, hasTable, isPlaced] = [false, false, false];
  /** `isDoubted`: it lost its carrier while the host was cut off. */
  let [hasCarrier, isDoubted] = [true, false];
  return {
    start: () => {
      if (host !== undefined && !stop.signal.aborted) return;
      if (!hasCarrier) [hasCarrier, isPlaced] = [true, false]; // a cable that is plugged in while no furiwake runs: ADR 0014
      scene.cluster.links.set(identity, 'up');
      stop = new AbortController();
      host = startLeading(scene, identity, { files, knowsOthers, leftUntilMs: host?.endMs ?? -Infinity, stop });
    },
    /** `killed`: nothing that it does at its end is seen. */
    end: async (how: 'killed' | 'stopped') => {
      if (how === 'killed') scene.cluster.links.set(identity, 'cut');
      stop.abort();
      await scene.clock.drive((host?.ended ?? Promise.resolve()).catch(() => undefined));
    },
    /** The cable of its LAN, while furiwake runs. */
    plug: (isIn: boolean) => {
      if (host !== undefined && !stop.signal.aborted) hasCarrier = isIn;
    },
    /** The kernel, and the agent with its probe: `isTaken`, another host answers. */
    place: (isTaken: boolean) => {
      knowsOthers ||= host?.knowsOthers ?? false;
      hasTable ||= (host?.terms ?? 0) > 0;
      const isCutOff = host?.isCutOff === true;
      isDoubted = isCutOff && (isDoubted || (!hasCarrier && !stop.signal.aborted));
      const isHolder = host?.isServing === true && host.terms > 0 && !stop.signal.aborted;
      const mayAdd = isHolder && (host?.keepers.length === 0 || (hasCarrier && !isTaken));
      const stays = isDoubted ? hasCarrier && !isTaken : isPlaced || mayAdd;
      isPlaced = host?.answers === true && hasTable && stays;
      if (isPlaced) isDoubted = false;
    },
    /** Whether its neighbours hear it answer. */
    answers: () => isPlaced && hasCarrier,
    isPlaced: () => isPlaced,
  };
}

type Schedule = typeof anySchedule extends fc.Arbitrary<infer T> ? T : never;
const anySchedule = fc.array(
  fc.record({
    host: fc.constantFrom(...boxes),
    act: fc.constantFrom('none', 'started', 'started', 'stopped', 'killed', 'cut', 'up', 'out', 'in'),
    seconds: fc.integer({ min: 0, max: 40 }),
  }),
  { maxLength: 20 },
);

/** The first host cannot know of the second one, which finds no other machine on the LAN. */
const newHostWhileUnplugged = [
  { host: boxes[0], act: 'started', seconds: 1 },
  { host: boxes[0], act: 'cut', seconds: 0 },
  { host: boxes[0], act: 'out', seconds: 12 },
  { host: boxes[1], act: 'started', seconds: 20 },
  { host: boxes[0], act: 'in', seconds: 4 },
] satisfies Schedule;

test('of hosts that are started one after the other, stopped, killed and cut off, two never answer for one address', async () => {
  await fc.assert(
    fc.asyncProperty(anySchedule, async (schedule) => {
      const scene = makeScene();
      const hosts = new Map(boxes.map((identity) => [identity, makeBox(scene, identity)] as const));
      const place = (): void => {
        for (const host of hosts.values())
          host.place([...hosts.values()].some((each) => each !== host && each.answers()));
        expect([...hosts.values()].filter((each) => each.answers()).length).toBeLessThanOrEqual(1);
      };
      const pass = async (seconds: number): Promise<void> => {
        for (let tenths = 0; tenths < seconds * 10; tenths += 1) {
          await scene.clock.advance(100);
          place();
        }
      };
      for (const { host, act, seconds } of schedule) {
        const box = hosts.get(host);
        if (act === 'started') box?.start();
        if (act === 'stopped' || act === 'killed') await box?.end(act);
        if (act === 'out' || act === 'in') box?.plug(act === 'in');
        if (act === 'cut' || act === 'up') scene.cluster.links.set(host, act);
        await pass(seconds);
      }
      scene.cluster.links.clear();
      for (const host of hosts.values()) {
        host.plug(true);
        host.start();
      }
      await pass(60);
      expect([...hosts.values()].filter((each) => each.isPlaced())).toHaveLength(1);
      for (const host of hosts.values()) await host.end('stopped');
    }),
    { numRuns: runs, examples: [[newHostWhileUnplugged]] },
  );
});

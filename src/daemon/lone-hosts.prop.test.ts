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
  return {
    start: () => {
      if (host !== undefined && !stop.signal.aborted) return;
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
    /** The kernel, and the agent with its probe: `isTaken`, another host answers. Whether this host does. */
    place: (isTaken: boolean) => {
      knowsOthers ||= host?.knowsOthers ?? false;
      hasTable ||= (host?.terms ?? 0) > 0;
      const isHolder = host?.isServing === true && host.terms > 0 && !stop.signal.aborted;
      isPlaced =
        host?.answers === true && hasTable && (isPlaced || (isHolder && (host.keepers.length === 0 || !isTaken)));
      return isPlaced;
    },
    isPlaced: () => isPlaced,
  };
}

const anySchedule = fc.array(
  fc.record({
    host: fc.constantFrom(...boxes),
    act: fc.constantFrom('none', 'started', 'started', 'stopped', 'killed', 'cut', 'up'),
    seconds: fc.integer({ min: 0, max: 40 }),
  }),
  { maxLength: 20 },
);

test('of hosts that are started one after the other, stopped, killed and cut off, two never answer for one address', async () => {
  await fc.assert(
    fc.asyncProperty(anySchedule, async (schedule) => {
      const scene = makeScene();
      const hosts = new Map(boxes.map((identity) => [identity, makeBox(scene, identity)] as const));
      const place = (): void => {
        for (const host of hosts.values())
          host.place([...hosts.values()].some((each) => each !== host && each.isPlaced()));
        expect([...hosts.values()].filter((each) => each.isPlaced()).length).toBeLessThanOrEqual(1);
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
        if (act === 'cut' || act === 'up') scene.cluster.links.set(host, act);
        await pass(seconds);
      }
      scene.cluster.links.clear();
      for (const host of hosts.values()) host.start();
      await pass(60);
      expect([...hosts.values()].filter((each) => each.isPlaced())).toHaveLength(1);
      for (const host of hosts.values()) await host.end('stopped');
    }),
    { numRuns: runs },
  );
});

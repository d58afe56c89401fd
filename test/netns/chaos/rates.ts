import { pause } from './cluster.ts';
import { never } from './fault.ts';
import type { World } from './world.ts';

/** What is still reasonable in ten seconds. */
const windowMs = 10_000;
const quietMs = 4_000;
const most = { lines: 150, writes: 100, cpuMs: 7_000 };
type Sample = { readonly atMs: number; readonly lines: number; readonly writes: number; readonly cpuMs: number };

/** The pace of log lines, writes to the API server and processor time. */
export function watchRates(world: World): {
  readonly wrong: readonly string[];
  run(signal: AbortSignal): Promise<void>;
  /** The work that is done although all is as wanted, if there is never a quiet time. */
  restless(withinMs: number): Promise<readonly string[]>;
} {
  const wrong: string[] = [];
  const samples: Sample[] = [];
  let counted = 0;
  let writes = 0;
  const sample = async (): Promise<Sample> => {
    const { requests } = world.server;
    for (; counted < requests.length; counted++) {
      const { verb, resource } = requests[counted]!;
      if (/^(apply|patch|create|update)$/.test(verb) && /^(services|services\/status|events)$/.test(resource)) writes++;
    }
    let [lines, cpuMs] = [0, 0];
    for (const { furiwake } of world.hosts) {
      lines += furiwake.log.length;
      cpuMs += await furiwake.cpuMs();
    }
    return { atMs: performance.now(), lines, writes, cpuMs };
  };
  return {
    wrong,
    run: async (signal) => {
      while (!signal.aborted) {
        const now = await sample();
        samples.push(now);
        const before = samples.findLast(({ atMs }) => atMs <= now.atMs - windowMs);
        if (before !== undefined)
          for (const what of ['lines', 'writes', 'cpuMs'] as const) {
            const amount = now[what] - before[what];
            if (amount > most[what] * world.hosts.length && !wrong.some((words) => words.includes(what)))
              wrong.push(`${world.shownTime()} ${amount} ${what} in ten seconds`);
          }
        await pause(1_000, signal);
      }
    },
    restless: async (withinMs) => {
      const endMs = performance.now() + withinMs;
      for (;;) {
        const before = await sample();
        await pause(quietMs, never);
        const now = await sample();
        const more = [now.lines - before.lines, now.writes - before.writes, now.cpuMs - before.cpuMs] as const;
        if (more[0] <= 2 && more[1] === 0 && more[2] < quietMs / 3) return [];
        if (performance.now() > endMs) return [`${more.join(', ')} lines, writes and ms although all had settled`];
      }
    },
  };
}

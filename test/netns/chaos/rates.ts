import { pause } from './cluster.ts';
import type { World } from './world.ts';

/** What is still reasonable in ten seconds. */
const windowMs = 10_000;
const most = { lines: 150, writes: 100, cpuMs: 7_000 };
type Sample = { readonly atMs: number; readonly lines: number; readonly writes: number; readonly cpuMs: number };

/** The pace of log lines, writes to the API server and processor time. */
export function watchRates(world: World): {
  readonly wrong: readonly string[];
  run(signal: AbortSignal): Promise<void>;
  /** The work that is done within this time although all is as wanted. */
  restless(forMs: number): Promise<readonly string[]>;
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
    restless: async (forMs) => {
      await pause(3_000, new AbortController().signal);
      const before = await sample();
      await pause(forMs, new AbortController().signal);
      const now = await sample();
      const found: string[] = [];
      if (now.lines - before.lines > 6) {
        const logged = world.hosts.flatMap(({ furiwake }) => furiwake.log.slice(-3).map(({ text }) => text));
        found.push(`${now.lines - before.lines} log lines after all had settled: ${logged.join(' ')}`);
      }
      if (now.writes - before.writes > 2) found.push(`${now.writes - before.writes} writes after all had settled`);
      if (now.cpuMs - before.cpuMs > 2_000)
        found.push(`${now.cpuMs - before.cpuMs} ms of processor time after all had settled`);
      return found;
    },
  };
}

import type { Clock } from '../../ports/clock.ts';
import type { Exec } from '../../ports/exec.ts';
import type { Files } from '../../ports/files.ts';
import { PortHeldError } from './errors.ts';
import { listenPort } from './settings.ts';

/** The processes that listen on HAProxy's port: found by the port and not by a file, for a file may be lost or wrong. */
export type PortOwners = {
  /**
   * Makes sure that nothing listens on the port: a HAProxy that an earlier furiwake left (other or lost state directory)
   * gives it up, its connections continue until they end. Throws {@link PortHeldError} for any other program.
   */
  free(config: string, signal: AbortSignal): Promise<void>;
  /** Sends a signal; false when there is no such process any more. */
  signal(pid: number, name: NodeJS.Signals): boolean;
};

type Owner = { readonly name: string; readonly pid: number };

const pollMs = 20;
const freeMs = 5_000;

export function makePortOwners(deps: {
  readonly exec: Exec;
  readonly files: Files;
  readonly clock: Clock;
  readonly kill?: (pid: number, name: NodeJS.Signals) => void;
}): PortOwners {
  const { exec, files, clock, kill = (pid, name) => void process.kill(pid, name) } = deps;

  const find = async (signal: AbortSignal): Promise<readonly Owner[]> => {
    const { stdout } = await exec.run('ss', ['-Hltnp', 'sport', '=', `:${listenPort}`], { signal });
    const owners = new Map<number, Owner>();
    for (const line of stdout.split('\n').filter((each) => each.trim() !== '')) {
      const found = [...line.matchAll(/\("([^"]*)",pid=(\d+)/g)];
      if (found.length === 0) owners.set(0, { name: 'an unknown process', pid: 0 });
      for (const [, name = '', pid] of found) owners.set(Number(pid), { name, pid: Number(pid) });
    }
    return [...owners.values()];
  };

  const send: PortOwners['signal'] = (pid, name) => {
    try {
      kill(pid, name);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
      throw error;
    }
  };

  /** A HAProxy that furiwake started: its configuration file begins with our words, or is gone with the directory. */
  const isLeftOver = async ({ name, pid }: Owner): Promise<boolean> => {
    if (name !== 'haproxy' || pid === 0) return false;
    const commandLine = ((await files.read(`/proc/${pid}/cmdline`).catch(() => undefined)) ?? '').split('\0');
    const file = commandLine[commandLine.indexOf('-f') + 1] ?? '';
    if (!file.endsWith('/haproxy.cfg') || !commandLine.includes('-S')) return false;
    const text = await files.read(file).catch(() => undefined);
    return text === undefined || text.startsWith('# Written by furiwake');
  };

  return {
    signal: send,
    free: async (_config, signal) => {
      let asked: ReadonlySet<number> = new Set();
      const endMs = clock.monotonic() + freeMs;
      for (;;) {
        const owners = await find(signal);
        if (owners.length === 0) return;
        for (const owner of owners)
          if (!(await isLeftOver(owner))) throw new PortHeldError(owner.name, owner.pid, listenPort);
        const isLate = clock.monotonic() > endMs;
        // Soft stop: the listening sockets are closed at once, connections continue (management guide, section 4).
        for (const { pid } of owners) if (isLate || !asked.has(pid)) send(pid, isLate ? 'SIGKILL' : 'SIGUSR1');
        asked = new Set([...asked, ...owners.map(({ pid }) => pid)]);
        await clock.sleep(pollMs, signal);
      }
    },
  };
}

import type { Files } from '../../ports/files.ts';
import type { Daemon } from './daemon.ts';
import type { Desired } from './desired.ts';
import { type Entries, mapText } from './rows.ts';
import type { Paths } from './settings.ts';

/** HAProxy's two files: what starts it, starts with the last desired state, or with that of a second ago. */
export type Disk = {
  /**
   * Writes a configuration that differs: put in place only after HAProxy has accepted it; else this throws
   * `ConfigRefusedError` and both files stay as they were. The map waits for `flush`: the worker that runs gets its rows
   * by commands, and a file of 10,000 lines for each change of one would cost more than the change.
   */
  put(desired: Desired, signal: AbortSignal): Promise<void>;
  /** Writes a map that differs: before HAProxy starts on it, and each second. */
  flush(): Promise<void>;
  /** Writes again what somebody else changed; how many files that were. */
  repair(desired: Desired, signal: AbortSignal): Promise<number>;
};

export function makeDisk(deps: { readonly paths: Paths; readonly files: Files; readonly daemon: Daemon }): Disk {
  const { paths, files, daemon } = deps;
  let isLoaded = false;
  /** On the disk. */
  let config: string | undefined;
  let hasMap = false;
  /** What the map on the disk tells, as far as we know. */
  let saved: Entries | undefined;
  let accepted: Desired | undefined;

  const saveMap = async (text: string): Promise<void> => {
    await files.write(paths.map, text);
    hasMap = true;
  };

  const load = async (): Promise<string | undefined> => {
    config = await files.read(paths.config);
    const map = await files.read(paths.map);
    hasMap = map !== undefined;
    isLoaded = true;
    return map;
  };

  const put: Disk['put'] = async (desired, signal) => {
    if (!isLoaded && (await load()) === mapText(desired.entries)) saved = desired.entries;
    if (config !== desired.config && needsVerdict(accepted, desired)) {
      if (!hasMap) await saveMap(''); // it would be refused for the lack of a map alone
      await files.write(paths.candidate, desired.config);
      try {
        await daemon.validate(paths.candidate, signal);
      } finally {
        await files.remove(paths.candidate);
      }
    }
    accepted = desired;
    if (config !== desired.config) await files.write(paths.config, desired.config);
    config = desired.config;
  };

  const flush: Disk['flush'] = async () => {
    if (accepted === undefined || accepted.entries === saved) return;
    const { entries } = accepted;
    await saveMap(mapText(entries));
    saved = entries;
  };

  return {
    put,
    flush,
    repair: async (desired, signal) => {
      const before = config;
      const told = saved ?? desired.entries;
      const map = await load();
      const changes = Number(before !== undefined && config !== before) + Number(map !== mapText(told));
      saved = map === mapText(desired.entries) ? desired.entries : undefined;
      await put(desired, signal);
      await flush();
      return changes;
    },
  };
}

/** Servers in slots come and go in one fixed form of checked parts: they need no verdict each time. */
function needsVerdict(accepted: Desired | undefined, desired: Desired): boolean {
  return accepted?.identity.hash !== desired.identity.hash || accepted.servers.nodes !== desired.servers.nodes;
}

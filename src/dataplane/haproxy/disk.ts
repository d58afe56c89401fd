import type { Files } from '../../ports/files.ts';
import type { Daemon } from './daemon.ts';
import type { Desired } from './desired.ts';
import type { Paths } from './settings.ts';

/** HAProxy's two files: whatever starts it, it starts with the last desired state. */
export type Disk = {
  /**
   * Writes what differs. A new configuration is put in place only after HAProxy has accepted it; else this throws
   * `ConfigRefusedError` and both files stay as they were. The map is still being written when this resolves: the
   * worker that runs gets its rows by commands.
   */
  put(desired: Desired, signal: AbortSignal): Promise<void>;
  /** Resolves when the map is on the disk: before HAProxy starts on it, and before anybody is told. */
  flushed(): Promise<void>;
  /** Writes again what somebody else changed; how many files that were. */
  repair(desired: Desired, signal: AbortSignal): Promise<number>;
};

export function makeDisk(deps: { readonly paths: Paths; readonly files: Files; readonly daemon: Daemon }): Disk {
  const { paths, files, daemon } = deps;
  let config: string | undefined;
  /** The last map, and the end of its writing. */
  let map: { readonly text: string | undefined; readonly isSaved: Promise<void> } | undefined;
  let accepted: Desired | undefined;

  const load = async (): Promise<void> => {
    await map?.isSaved.catch(() => undefined); // `flushed` tells
    config = await files.read(paths.config);
    map = { text: await files.read(paths.map), isSaved: Promise.resolve() };
  };

  const saveMap = (text: string): Promise<void> => {
    const before = map?.isSaved ?? Promise.resolve();
    const isSaved = before.catch(() => undefined).then(() => files.write(paths.map, text));
    isSaved.catch(() => undefined); // `flushed` tells
    map = { text, isSaved };
    return isSaved;
  };

  const put: Disk['put'] = async (desired, signal) => {
    if (map === undefined) await load();
    if (config !== desired.config && needsVerdict(accepted, desired)) {
      // It would be refused for the lack of a map alone.
      if (map?.text === undefined) await saveMap('');
      await files.write(paths.candidate, desired.config);
      try {
        await daemon.validate(paths.candidate, signal);
      } finally {
        await files.remove(paths.candidate);
      }
    }
    accepted = desired;
    if (map?.text !== desired.map) void saveMap(desired.map);
    if (config !== desired.config) await files.write(paths.config, desired.config);
    config = desired.config;
  };

  const flushed: Disk['flushed'] = async () => {
    try {
      await map?.isSaved;
    } catch {
      await saveMap(map?.text ?? ''); // a disk that was full may have room by now
    }
  };

  return {
    put,
    flushed,
    repair: async (desired, signal) => {
      await load();
      const changes = Number(config !== desired.config) + Number(map?.text !== desired.map);
      await put(desired, signal);
      await flushed();
      return changes;
    },
  };
}

/** Servers in slots come and go in one fixed form of checked parts: they need no verdict each time. */
function needsVerdict(accepted: Desired | undefined, desired: Desired): boolean {
  return accepted?.identity.hash !== desired.identity.hash || accepted.servers.nodes !== desired.servers.nodes;
}

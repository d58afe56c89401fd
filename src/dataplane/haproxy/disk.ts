import type { Files } from '../../ports/files.ts';
import type { Daemon } from './daemon.ts';
import type { Desired } from './desired.ts';
import type { Paths } from './settings.ts';

/** HAProxy's two files: whatever starts it, it starts with the last desired state. */
export type Disk = {
  /**
   * Writes what differs. A new configuration is put in place only after HAProxy has accepted it; else this throws
   * `ConfigRefusedError` and both files stay as they were.
   */
  put(desired: Desired, signal: AbortSignal): Promise<void>;
  /** Writes again what somebody else changed; how many files that were. */
  repair(desired: Desired, signal: AbortSignal): Promise<number>;
};

export function makeDisk(deps: { readonly paths: Paths; readonly files: Files; readonly daemon: Daemon }): Disk {
  const { paths, files, daemon } = deps;
  let written: { config: string | undefined; map: string | undefined } | undefined;
  let accepted: Desired | undefined;

  const load = async (): Promise<NonNullable<typeof written>> => {
    written = { config: await files.read(paths.config), map: await files.read(paths.map) };
    return written;
  };

  const put: Disk['put'] = async (desired, signal) => {
    const now = written ?? (await load());
    if (now.config !== desired.config && needsVerdict(accepted, desired)) {
      // It would be refused for the lack of a map alone.
      if (now.map === undefined) await files.write(paths.map, '');
      await files.write(paths.candidate, desired.config);
      try {
        await daemon.validate(paths.candidate, signal);
      } finally {
        await files.remove(paths.candidate);
      }
    }
    accepted = desired;
    if (now.map !== desired.map) await files.write(paths.map, desired.map);
    now.map = desired.map;
    if (now.config !== desired.config) await files.write(paths.config, desired.config);
    now.config = desired.config;
  };

  return {
    put,
    repair: async (desired, signal) => {
      const { config, map } = await load();
      await put(desired, signal);
      return Number(config !== desired.config) + Number(map !== desired.map);
    },
  };
}

/** Servers in slots come and go in one fixed form of checked parts: they need no verdict each time. */
function needsVerdict(accepted: Desired | undefined, desired: Desired): boolean {
  return accepted?.identity.hash !== desired.identity.hash || accepted.servers.nodes !== desired.servers.nodes;
}

import type { Files } from '../../ports/files.ts';
import { type Entries, mapText } from './entries.ts';
import type { HaproxyProcess } from './process.ts';
import type { Paths } from './settings.ts';

type Wanted = { readonly config: string; readonly entries: Entries };

/** HAProxy's two files. A start or a reload gets the last desired state, the map possibly that of a second ago. */
export type HaproxyFiles = {
  /**
   * Writes a configuration that differs: put in place only after HAProxy has accepted it; else this throws
   * `ConfigRefusedError` and both files stay as they were. The map waits for `saveMap`: a worker that runs gets its
   * entries by commands, and a file of 10,000 lines for each change of one would cost more than the change.
   */
  put(wanted: Wanted, signal: AbortSignal): Promise<void>;
  /** Writes a map that differs: before HAProxy starts on it, and each second. */
  saveMap(): Promise<void>;
  /** Writes again what was changed externally; how many files that were. */
  repair(wanted: Wanted, signal: AbortSignal): Promise<number>;
};

export function makeHaproxyFiles(deps: {
  readonly paths: Paths;
  readonly files: Files;
  readonly process: HaproxyProcess;
}): HaproxyFiles {
  const { paths, files, process } = deps;
  let isLoaded = false;
  /** On the disk. */
  let config: string | undefined;
  let hasMap = false;
  /** What the map on the disk holds, if that is known. */
  let saved: Entries | undefined;
  let accepted: Wanted | undefined;

  const writeMap = async (text: string): Promise<void> => {
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

  const put: HaproxyFiles['put'] = async (wanted, signal) => {
    if (!isLoaded && (await load()) === mapText(wanted.entries)) saved = wanted.entries;
    if (config !== wanted.config) {
      if (!hasMap) await writeMap(''); // it would be refused for the lack of a map alone
      await files.write(paths.candidate, wanted.config);
      try {
        await process.validate(paths.candidate, signal);
      } finally {
        await files.remove(paths.candidate);
      }
      await files.write(paths.config, wanted.config);
      config = wanted.config;
    }
    accepted = wanted;
  };

  const saveMap: HaproxyFiles['saveMap'] = async () => {
    if (accepted === undefined || accepted.entries === saved) return;
    const { entries } = accepted;
    await writeMap(mapText(entries));
    saved = entries;
  };

  return {
    put,
    saveMap,
    repair: async (wanted, signal) => {
      const before = config;
      const written = saved ?? wanted.entries;
      const map = await load();
      const changes = Number(before !== undefined && config !== before) + Number(map !== mapText(written));
      saved = map === mapText(wanted.entries) ? wanted.entries : undefined;
      await put(wanted, signal);
      await saveMap();
      return changes;
    },
  };
}

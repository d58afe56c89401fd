import type { Files } from '../../../ports/files.ts';
import { descriptionIn, isEdited, type ProgramId, parseDescription, pathsIn, type Settings } from './config.ts';
import { type Desired, fullConfigOf } from './desired.ts';
import { type Entries, mapText } from './entries.ts';
import { ConfigRefusedError, type Program } from '../process/program.ts';

type WantedFiles = Pick<Desired, 'program' | 'servers' | 'config' | 'bareConfig' | 'entries' | 'spares'>;

/** HAProxy's two files. A start or a reload reads the last desired state, and a map that may be a second old. */
export type HaproxyFiles = {
  /**
   * Writes a changed configuration after HAProxy has accepted it. If HAProxy refuses it because of its servers, it is
   * written without them, and commands add them, which HAProxy refuses one by one; resolves with its message then.
   * Throws `ConfigRefusedError` if it refuses that as well; both files stay as they were. `save` writes the map and the
   * servers of the spare backends: a running worker gets them by commands, and writing a file of 10,000 lines for each
   * change would cost more than the change.
   */
  putConfig(wanted: WantedFiles, signal: AbortSignal): Promise<string | undefined>;
  /** Writes a changed map and changed spare backends: before HAProxy starts with them, and at most once a second. */
  save(wanted: WantedFiles): Promise<void>;
  /** The program of the configuration on the disk. */
  program(): ProgramId | undefined;
  /** Whether another program had edited the configuration before this furiwake read it for the first time. */
  wasEdited(): boolean;
  /**
   * Whether both files are on the disk as they were written, and the folder of the workers. What is not is written again by
   * `putConfig` and `save`.
   */
  areIntact(): Promise<boolean>;
  /** Whether both files are there, and the folder of the workers: as `areIntact`, without a look into the files. */
  areThere(): Promise<boolean>;
  /**
   * Reads the files again, and forgets the refusals of HAProxy; returns the number of files that were changed
   * externally.
   */
  reread(wanted: WantedFiles): Promise<number>;
};

export function makeHaproxyFiles(deps: {
  readonly settings: Settings;
  readonly files: Files;
  readonly program: Program;
}): HaproxyFiles {
  const { settings, files, program } = deps;
  const paths = pathsIn(settings.folder);
  let isLoaded = false;
  let wasEdited: boolean | undefined;
  /** On the disk. */
  let config: string | undefined;
  /** The configuration without servers in its spare backends, and those servers, as they are on the disk. */
  let written: Pick<WantedFiles, 'config' | 'spares'> | undefined;
  let hasMap = false;
  /** The contents of the map on the disk, if known. */
  let saved: Entries | undefined;
  /** The configuration that HAProxy refused last. */
  let refused: { readonly config: string; readonly words: string } | undefined;

  const load = async (wanted: WantedFiles): Promise<{ readonly isMapAsWanted: boolean }> => {
    written = undefined;
    config = undefined;
    isLoaded = false;
    await files.makeFolder(paths.emptyFolder);
    // A file that cannot be read counts as missing: both are written again.
    config = await files.read(paths.config).catch(() => undefined);
    wasEdited ??= config !== undefined && isEdited(config, wanted.program);
    const map = await files.read(paths.map).catch(() => undefined);
    hasMap = map !== undefined;
    isLoaded = true;
    return { isMapAsWanted: map === mapText(wanted.entries) };
  };

  const writeMap = async (text: string): Promise<void> => {
    await files.write(paths.map, text);
    hasMap = true;
  };

  const writeConfig = async (text: string, signal: AbortSignal): Promise<void> => {
    if (config === text) return;
    if (!hasMap) await writeMap(''); // a configuration without it is refused
    await files.write(paths.candidate, text);
    try {
      await program.validate(paths.candidate, signal);
    } finally {
      await files.remove(paths.candidate);
    }
    await files.write(paths.config, text);
    config = text;
  };

  return {
    putConfig: async (wanted, signal) => {
      if (!isLoaded) saved = (await load(wanted)).isMapAsWanted ? wanted.entries : undefined;
      if (written?.config === wanted.config) return undefined;
      if (wanted.config !== refused?.config) {
        try {
          await writeConfig(fullConfigOf(settings, wanted), signal);
          written = wanted;
          refused = undefined;
        } catch (error) {
          if (!(error instanceof ConfigRefusedError) || wanted.config === wanted.bareConfig) throw error;
          refused = { config: wanted.config, words: error.words };
        }
      }
      if (refused === undefined) return undefined;
      written = undefined;
      await writeConfig(wanted.bareConfig, signal);
      return refused.words;
    },
    save: async (wanted) => {
      if (!isLoaded) return;
      if (written?.config === wanted.config && written.spares.servers !== wanted.spares.servers) {
        const text = fullConfigOf(settings, wanted); // its servers have addresses and names that HAProxy has accepted for the nodes
        await files.write(paths.config, text);
        config = text;
        written = wanted;
      }
      if (wanted.entries === saved) return;
      await writeMap(mapText(wanted.entries));
      saved = wanted.entries;
    },
    areIntact: async () => {
      if (!isLoaded) return false;
      const unreadable = (): undefined => undefined;
      const [text, map] = [
        await files.read(paths.config).catch(unreadable),
        await files.read(paths.map).catch(unreadable),
      ];
      const areAsWritten = text !== undefined && text === config && (saved === undefined || map === mapText(saved));
      isLoaded = areAsWritten && (await files.exists(paths.emptyFolder));
      return isLoaded;
    },
    areThere: async () => {
      const all = [paths.config, paths.map, paths.emptyFolder];
      return (await Promise.all(all.map((path) => files.exists(path)))).every(Boolean);
    },
    program: () => parseDescription(descriptionIn(config ?? '')),
    wasEdited: () => wasEdited === true,
    reread: async (wanted) => {
      const before = { config, saved };
      const { isMapAsWanted } = await load(wanted);
      refused = undefined;
      saved = isMapAsWanted ? wanted.entries : undefined;
      const isMapChanged = before.saved === wanted.entries && !isMapAsWanted;
      return Number(before.config !== undefined && config !== before.config) + Number(isMapChanged);
    },
  };
}

import type { Files } from '../ports/files.ts';

/** Writes a file again from memory if it is missing; resolves with its path if it was. */
export type Restore = () => Promise<string | undefined>;

/** Files of a process that writes lost ones again: each file of its state registers here. */
export type RestorableFiles = Files & { readonly onLost?: (restore: Restore) => void };

export type LostFiles = {
  readonly files: RestorableFiles;
  /** Writes all files that are missing again, in the order in which they were registered; resolves with their paths. */
  restore(): Promise<readonly string[]>;
};

export function makeLostFiles(files: Files): LostFiles {
  const restores: Restore[] = [];
  return {
    files: { ...files, onLost: (restore) => void restores.push(restore) },
    restore: async () => {
      const paths: string[] = [];
      for (const restore of restores) {
        const path = await restore();
        if (path !== undefined) paths.push(path);
      }
      return paths;
    },
  };
}

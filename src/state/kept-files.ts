import type { Files } from '../ports/files.ts';

/** Small files whose contents are kept in memory, too. */
export type KeptFiles = Files & {
  /** Writes those that are missing again. */
  restore(): Promise<void>;
};

export function makeKeptFiles(files: Files): KeptFiles {
  const texts = new Map<string, string>();
  return {
    ...files,
    read: async (path) => {
      const text = await files.read(path);
      if (text !== undefined) texts.set(path, text);
      return text;
    },
    write: async (path, text, mode) => {
      await files.write(path, text, mode);
      texts.set(path, text);
    },
    append: async (path, text) => {
      await files.append(path, text);
      texts.set(path, (texts.get(path) ?? '') + text);
    },
    remove: async (path) => {
      await files.remove(path);
      texts.delete(path);
    },
    restore: async () => {
      for (const [path, text] of texts) if (!(await files.exists(path))) await files.write(path, text);
    },
  };
}

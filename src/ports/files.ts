export type FileStat = { readonly isFolder: boolean; readonly uid: number; readonly mode: number };

/** What the system refused, and why: `cannot write /var/lib/furiwake/ledger.jsonl: no space left on device`. */
export class FileError extends Error {
  override readonly name = 'FileError';
  /** Of the system: `ENOSPC`. */
  readonly code: string;
  /** Its words: `no space left on device`. */
  readonly words: string;
  constructor(
    what: string,
    { code, words, cause }: { readonly code: string; readonly words: string; readonly cause: unknown },
  ) {
    super(`${what}: ${words}`, { cause });
    this.code = code;
    this.words = words;
  }
}

/** The few files that must outlive the process. Paths are absolute. What the system refuses is a {@link FileError}. */
export type Files = {
  /** The whole text, or `undefined` if there is no such file. */
  read(path: string): Promise<string | undefined>;
  /** At most so many bytes from the start of the file, or `undefined` if there is no such file. */
  readStart(path: string, bytes: number): Promise<string | undefined>;
  /** Replaces the file as a whole (temporary file beside it, rename): a crash leaves the old text or the new one. */
  write(path: string, text: string, mode?: number): Promise<void>;
  /** Waits until the file's data and its name are on the disk (`fdatasync`); throws if there is no such file. */
  sync(path: string): Promise<void>;
  /** Appends to an existing file. A crash or an error may leave a part of `text`. */
  append(path: string, text: string): Promise<void>;
  /** Whether the path exists: a file, a folder, a socket. */
  exists(path: string): Promise<boolean>;
  /**
   * The kind of file at the path (for a symbolic link: of its target), its owner, its permission bits; `undefined`: it
   * does not exist.
   */
  stat(path: string): Promise<FileStat | undefined>;
  /** Sorted names of the entries of the folder; empty if there is no such folder. */
  list(folder: string): Promise<readonly string[]>;
  /** Removes a file, or a folder with its contents; no error if it does not exist. */
  remove(path: string): Promise<void>;
  /** Creates the folder and its parents. */
  makeFolder(path: string, mode?: number): Promise<void>;
};

export type FileStat = { readonly isFolder: boolean; readonly uid: number; readonly mode: number };

/** The few files that must outlive the process. Paths are absolute. */
export type Files = {
  /** The whole text, or `undefined` when there is no such file. */
  read(path: string): Promise<string | undefined>;
  /** Replaces the file as a whole (temporary file beside it, rename): a crash leaves the old text or the new one. */
  write(path: string, text: string, mode?: number): Promise<void>;
  /** Waits until the file's data and its name are on the disk (`fdatasync`); throws when there is no such file. */
  sync(path: string): Promise<void>;
  /** Adds to the end of a file that is there. A crash or an error may leave a part of `text`. */
  append(path: string, text: string): Promise<void>;
  /** Whether there is anything at the path: a file, a folder, a socket. */
  exists(path: string): Promise<boolean>;
  /** What is at the path (for a symbolic link: where it leads), who owns it, its permission bits; `undefined`: nothing. */
  stat(path: string): Promise<FileStat | undefined>;
  /** Names of what is in the folder, sorted; empty when there is no such folder. */
  list(folder: string): Promise<readonly string[]>;
  /** A file, or a folder with all that is in it; no error when it is not there. */
  remove(path: string): Promise<void>;
  /** Creates the folder and its parents. */
  makeFolder(path: string, mode?: number): Promise<void>;
};

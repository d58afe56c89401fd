import type { ServerState } from './answers.ts';
import type { HeldRows } from './held-rows.ts';
import type { Identity } from './program.ts';

/** What a worker holds: its program, its map, and the servers of our backends by backend and name. */
export type Held = {
  readonly pid: number;
  /** `undefined`: none of ours. */
  readonly identity: Identity | undefined;
  readonly rows: HeldRows;
  readonly servers: ReadonlyMap<string, ReadonlyMap<string, ServerState>>;
};

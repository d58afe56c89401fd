import type { ListenerKey } from '../../core/model/names.ts';
import type { ProgramId } from './config.ts';
import type { Desired } from './desired.ts';
import { backendOfEntry } from './entries.ts';
import { isSpareName, poolOfSpare, type SpareName } from './pools.ts';
import type { Spares } from './spares.ts';

/** The spare backends that a program declares. */
export type Declared = { readonly program: ProgramId; readonly sizes: Spares['sizes'] };

type Wanted = Pick<Desired, 'entries' | 'servers'> & { readonly spares: Pick<Desired['spares'], 'servers'> };

/** Listeners that a worker cannot serve until a reload; `without` leaves them and their servers out. */
export type Undeclared = {
  readonly listeners: readonly ListenerKey[];
  /** Some of them need more spare backends without a profile. These are never removed. */
  readonly isGrowth: boolean;
  without(wanted: Wanted): Wanted;
};

/** The part of `desired` that needs spare backends that a worker with the program `declared` does not have. */
export function undeclared({ entries, spares }: Desired, declared: Declared | undefined): Undeclared {
  const isMissing = (name: string): name is SpareName => {
    const size = declared?.sizes[poolOfSpare(name) ?? '4'] ?? 0;
    return isSpareName(name) && Number(name.slice(name.lastIndexOf('-') + 1)) >= size;
  };
  const names = [...spares.servers.keys()].filter(isMissing);
  const lacking = [...entries].filter(([, entry]) => isMissing(backendOfEntry(entry)));
  const listeners = lacking.map(([key]) => key);
  return {
    listeners,
    isGrowth: lacking.some(([, entry]) => /^spare[46]-/.test(backendOfEntry(entry))),
    without: (wanted) => ({
      ...wanted,
      entries: wanted.entries.with(listeners.map((key) => [key, undefined])),
      spares: { servers: wanted.spares.servers.with(names.map((name) => [name, undefined])) },
    }),
  };
}

import type { ListenerKey } from '../../../core/model/names.ts';
import { isUsualProfile, plainProfile, profileText } from '../../../core/traffic/options.ts';
import type { Listener } from '../../../core/traffic/table.ts';
import type { Desired } from '../config/desired.ts';
import { backendOfEntry } from '../config/entries.ts';
import { isSpareName, type SpareName } from '../config/pools.ts';
import type { Need } from '../process/reloads.ts';

type Wanted = Pick<Desired, 'entries' | 'servers'> & { readonly spares: Pick<Desired['spares'], 'servers'> };

/** Listeners that a worker cannot serve as wanted until a reload; `without` leaves them and their servers out. */
export type Undeclared = {
  readonly listeners: readonly UndeclaredListener[];
  /** Of all of them. */
  readonly need: Need;
  without(wanted: Wanted): Wanted;
};

export type UndeclaredListener = {
  readonly key: ListenerKey;
  readonly need: Need;
  /** Its settings that need the reload, as words; empty: it needs one more backend without any. */
  readonly settings: string;
};

/** The part of `desired` that needs spare backends that a worker does not have. */
export function undeclaredIn({ entries, spares, table }: Desired, backends: ReadonlySet<string>): Undeclared {
  const isUndeclared = (name: string): name is SpareName => isSpareName(name) && !backends.has(name);
  const names = [...spares.servers.keys()].filter(isUndeclared);
  const listeners = [...entries].flatMap(([key, entry]) => {
    const listener = isUndeclared(backendOfEntry(entry)) ? table.listeners.get(key) : undefined;
    return listener === undefined ? [] : undeclaredListener(listener);
  });
  return {
    listeners,
    need: {
      isForAll: listeners.some(({ need }) => need.isForAll),
      namespaces: new Set(listeners.flatMap(({ need }) => [...need.namespaces])),
    },
    without: (wanted) => ({
      ...wanted,
      entries: wanted.entries.with(listeners.map(({ key }) => [key, undefined])),
      spares: { servers: wanted.spares.servers.with(names.map((name) => [name, undefined])) },
    }),
  };
}

function undeclaredListener({ key, service, options }: Listener): UndeclaredListener {
  const { profile } = options ?? { profile: plainProfile };
  const isForAll = isUsualProfile(profile);
  const [namespace = ''] = service.split('/');
  return { key, need: { isForAll, namespaces: new Set([namespace]) }, settings: isForAll ? '' : profileText(profile) };
}

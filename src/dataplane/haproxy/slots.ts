import type { Profile } from '../../core/traffic/table.ts';
import type { Held } from './held.ts';
import { growLayout, type Layout, profileId, profileOfSlot, slotName } from './layout.ts';
import { backendOf } from './rows.ts';

/** Where slots are in use: by key of the map, and all that have servers or rows that lead to them. */
export type SlotUse = { readonly byKey: ReadonlyMap<string, string>; readonly busy: ReadonlySet<string> };

/** Reads the use of the slots off what a worker holds. */
export function slotUse({ servers, rows }: Pick<Held, 'servers' | 'rows'>): SlotUse {
  const byKey = new Map<string, string>();
  for (const [key, value] of rows.values) if (value.startsWith('slot_')) byKey.set(key, backendOf(value));
  const busy = new Set(byKey.values());
  for (const [backend, names] of servers) if (names.size > 0 && profileOfSlot(backend) !== undefined) busy.add(backend);
  return { byKey, busy };
}

/** Gives out slots, one by one, and remembers them. */
export type SlotAssigner = {
  /**
   * The slot for the row of `key`: the one that it has, if that is of `profile`, else the first of the profile that is
   * not in use; the layout grows where there is none.
   */
  slotFor(key: string, profile: Profile): string;
  readonly layout: () => Layout;
};

/** `readUse` is called at most once, and only when a slot is asked for: it looks at all rows. */
export function makeSlotAssigner(readUse: () => SlotUse, first: Layout): SlotAssigner {
  let known: { readonly byKey: SlotUse['byKey']; readonly busy: Set<string> } | undefined;
  const use = (): NonNullable<typeof known> => {
    if (known === undefined) {
      const { byKey, busy } = readUse();
      known = { byKey, busy: new Set(busy) };
    }
    return known;
  };
  let layout = first;
  return {
    layout: () => layout,
    slotFor: (key, profile) => {
      const id = profileId(profile);
      const { byKey, busy } = use();
      const present = byKey.get(key);
      if (present?.startsWith(slotName(id, '')) === true) return present;
      for (;;) {
        const count = layout.get(id) ?? 0;
        for (let index = 0; index < count; index++) {
          const slot = slotName(id, index);
          if (busy.has(slot)) continue;
          busy.add(slot);
          return slot;
        }
        layout = growLayout(layout, id, count + 1);
      }
    },
  };
}

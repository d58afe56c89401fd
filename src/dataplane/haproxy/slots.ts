import type { ListenerKey } from '../../core/model/names.ts';
import type { Row } from '../../core/traffic/table.ts';
import { growLayout, type Layout, profileId, type ProfileId, slotName, slotsOf } from './layout.ts';

/** Which slot each row with a backend of its own has, and the layout that holds them all. */
export type SlotPlan = { readonly layout: Layout; readonly slotOf: ReadonlyMap<ListenerKey, string> };

/**
 * Gives each row with a backend of its own a slot of its profile. A row keeps the slot that it `has`; a slot that is
 * `busy` (rows or servers are still in it) is given to nobody else. Grows the layout where slots run out.
 */
export function assignSlots(
  rows: Iterable<Row>,
  has: (row: Row) => string | undefined,
  busy: ReadonlySet<string>,
  layout: Layout,
): SlotPlan {
  const slotOf = new Map<ListenerKey, string>();
  const taken = new Set(busy);
  const homeless = new Map<ProfileId, Row[]>();
  for (const row of rows) {
    if (row.backend.kind !== 'own') continue;
    const id = profileId(row.backend.profile);
    const slot = has(row);
    if (slot?.startsWith(slotName(id, 0).slice(0, -1)) === true) {
      slotOf.set(row.key, slot);
      taken.add(slot);
    } else homeless.set(id, [...(homeless.get(id) ?? []), row]);
  }
  if (homeless.size === 0) return { layout, slotOf };

  const needed = new Map<ProfileId, number>();
  for (const [id, waiting] of homeless) {
    const prefix = slotName(id, 0).slice(0, -1);
    needed.set(id, [...taken].filter((slot) => slot.startsWith(prefix)).length + waiting.length);
  }
  const grown = growLayout(layout, needed);
  for (const { name, profile } of slotsOf(grown)) {
    if (taken.has(name)) continue;
    const row = homeless.get(profileId(profile))?.shift();
    if (row !== undefined) slotOf.set(row.key, name);
  }
  return { layout: grown, slotOf };
}

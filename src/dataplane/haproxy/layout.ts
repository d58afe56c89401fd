import type { Profile } from '../../core/traffic/table.ts';

/**
 * How many slots each profile has. A backend cannot be added at run time, so empty ones are declared ahead: a slot is
 * a backend with a profile's settings, filled with servers when a Service takes it.
 */
export type Layout = ReadonlyMap<ProfileId, number>;

/** `algorithm_proxyProtocol`. */
export type ProfileId = `${Profile['algorithm']}_${Profile['proxyProtocol']}`;

const algorithms = ['roundrobin', 'leastconn', 'source'] as const;
const proxyProtocols = ['none', 'v1', 'v2'] as const;
const profiles: ReadonlyMap<string, Profile> = new Map(
  algorithms.flatMap((algorithm) =>
    proxyProtocols.map((proxyProtocol) => [profileId({ algorithm, proxyProtocol }), { algorithm, proxyProtocol }]),
  ),
);

const firstSlots = 8;

export function profileId(profile: Profile): ProfileId {
  return `${profile.algorithm}_${profile.proxyProtocol}`;
}

export function slotName(id: ProfileId, index: number | ''): string {
  return `slot_${id}_${index}`;
}

/** The profile of a slot, or `undefined` for a name that is no slot. */
export function profileOfSlot(name: string): Profile | undefined {
  const [, id] = /^slot_([a-z]+_[a-z0-9]+)_\d+$/.exec(name) ?? [];
  return id === undefined ? undefined : profiles.get(id);
}

/** All slots of a layout with their profiles, in the order of their declaration. */
export function* slotsOf(layout: Layout): Generator<{ readonly name: string; readonly profile: Profile }> {
  for (const [id, profile] of profiles) {
    const count = layout.get(id as ProfileId) ?? 0;
    for (let index = 0; index < count; index++) yield { name: slotName(id as ProfileId, index), profile };
  }
}

/** At least `count` slots of one profile: eight at first, then doubled; never fewer than before. */
export function growLayout(layout: Layout, id: ProfileId, count: number): Layout {
  const present = layout.get(id) ?? 0;
  if (count <= present) return layout;
  let slots = Math.max(present, firstSlots);
  while (slots < count) slots *= 2;
  return new Map(layout).set(id, slots);
}

/**
 * `roundrobin_v2=16+source_none=8`, sorted; `-` when there are none. The inverse of {@link parseLayout}. Without
 * commas: `show info` would put the text in quotes.
 */
export function formatLayout(layout: Layout): string {
  const parts = [...layout].map(([id, count]) => `${id}=${count}`);
  return parts.length === 0 ? '-' : parts.sort().join('+');
}

/** Reads what {@link formatLayout} wrote; parts that it would not write are left out. */
export function parseLayout(text: string): Layout {
  const layout = new Map<ProfileId, number>();
  for (const part of text.split('+')) {
    const [, id = '', count = ''] = /^([a-z0-9_]+)=([1-9]\d{0,5})$/.exec(part) ?? [];
    if (profiles.has(id)) layout.set(id as ProfileId, Number(count));
  }
  return layout;
}

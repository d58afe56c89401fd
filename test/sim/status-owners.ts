import type { Fields } from './kinds.ts';
import { Refusal } from './refusal.ts';

/**
 * The owners of the parts of a status, in units: `loadBalancer/ingress` (an atomic list), `conditions/TYPE` (a map by
 * type), and each other field as a whole. Keys are `manager|operation`.
 */
export type Owners = ReadonlyMap<string, ReadonlySet<string>>;

type Units = ReadonlyMap<string, unknown>;

/** A status in units; an empty list is also a unit (it is claimed), a missing one is not. */
function unitsOf(status: Fields): Map<string, unknown> {
  const units = new Map<string, unknown>();
  for (const [field, value] of Object.entries(status)) {
    if (field === 'conditions')
      for (const condition of value as { type: string }[]) units.set(`conditions/${condition.type}`, condition);
    else if (field === 'loadBalancer') {
      const { ingress } = value as { ingress?: unknown };
      if (ingress !== undefined) units.set('loadBalancer/ingress', ingress ?? []);
    } else units.set(field, value);
  }
  return units;
}

function statusOf(units: Units): Fields {
  const status: Record<string, unknown> = {};
  const conditions: unknown[] = [];
  for (const [unit, value] of units) {
    if (unit === 'loadBalancer/ingress') status['loadBalancer'] = isEmpty(value) ? {} : { ingress: value };
    else if (unit.startsWith('conditions/')) conditions.push(value);
    else status[unit] = value;
  }
  return { loadBalancer: {}, ...status, ...(conditions.length === 0 ? {} : { conditions }) };
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function isSameValue(a: unknown, b: unknown): boolean {
  return JSON.stringify(a ?? []) === JSON.stringify(b ?? []);
}

/**
 * Server-side apply: the manager owns what it applies (by force, or where no other manager owns it, or where it is equal);
 * what it applied before and no longer applies is removed unless another manager also owns it.
 */
export function applyStatus(
  { status, owners }: { readonly status: Fields; readonly owners: Owners },
  manager: string,
  applied: Fields,
  force: boolean,
): { readonly status: Fields; readonly owners: Owners } {
  const mine = `${manager}|Apply`;
  const units = unitsOf(status);
  const claimed = unitsOf(applied);
  const others = [...owners].filter(([key]) => key !== mine);
  const disputed = [...claimed].flatMap(([unit, value]) =>
    isSameValue(units.get(unit), value)
      ? []
      : others.filter(([, set]) => set.has(unit)).map(([key]) => ({ unit, key })),
  );
  const fieldOf = (unit: string): string => `.status.${unit.replace('/', '.')}`;
  if (disputed.length > 0 && !force)
    throw new Refusal(
      409,
      'Conflict',
      `Apply failed with ${disputed.length} conflict: conflict with "${disputed[0]?.key}": ${fieldOf(disputed[0]?.unit ?? '')}`,
      {
        causes: disputed.map(({ unit, key }) => ({
          reason: 'FieldManagerConflict',
          message: `conflict with "${key}"`,
          field: fieldOf(unit),
        })),
      },
    );
  for (const unit of owners.get(mine) ?? [])
    if (!claimed.has(unit) && !others.some(([, set]) => set.has(unit))) units.delete(unit);
  for (const [unit, value] of claimed) units.set(unit, value);
  const lost = new Set(disputed.map(({ unit, key }) => `${key} ${unit}`));
  const kept = others.map(
    ([key, set]) => [key, new Set([...set].filter((unit) => !lost.has(`${key} ${unit}`)))] as const,
  );
  return { status: statusOf(units), owners: tidy([...kept, [mine, new Set(claimed.keys())]]) };
}

/** An update or patch of the status by `manager`: it owns what it changed; what it removed has no owner. */
export function updateStatus(
  { status, owners }: { readonly status: Fields; readonly owners: Owners },
  manager: string,
  next: Fields,
): { readonly status: Fields; readonly owners: Owners } {
  const mine = `${manager}|Update`;
  const [before, after] = [unitsOf(status), unitsOf(next)];
  const changed = new Set(
    [...before.keys(), ...after.keys()].filter((unit) => !isSameValue(before.get(unit), after.get(unit))),
  );
  const gains = [...changed].filter((unit) => after.has(unit));
  const kept = [...owners].map(([key, set]) => [key, new Set([...set].filter((unit) => !changed.has(unit)))] as const);
  const own = new Set([...(owners.get(mine) ?? [])].filter((unit) => after.has(unit)).concat(gains));
  return { status: next, owners: tidy([...kept.filter(([key]) => key !== mine), [mine, own]]) };
}

function tidy(owners: readonly (readonly [string, ReadonlySet<string>])[]): Owners {
  return new Map(owners.filter(([, units]) => units.size > 0));
}

/** `metadata.managedFields`, as far as the status goes; an entry that does not change keeps its time. */
export function renderManagedFields(
  owners: Owners,
  { apiVersion, time, before }: { apiVersion: string; time: string; before: readonly unknown[] },
): readonly unknown[] {
  const timeless = (entry: unknown): string => JSON.stringify({ ...(entry as object), time: '' });
  const known = new Map(before.map((entry) => [timeless(entry), entry]));
  return [...owners].map(([key, units]) => {
    const [manager, operation] = key.split('|');
    const fields = { fieldsType: 'FieldsV1', fieldsV1: { 'f:status': fieldsV1([...units]) } };
    const entry = { manager, operation, apiVersion, time, ...fields, subresource: 'status' };
    return known.get(timeless(entry)) ?? entry;
  });
}

function fieldsV1(units: readonly string[]): object {
  const conditions = units.filter((unit) => unit.startsWith('conditions/'));
  const others = units.filter((unit) => !unit.includes('/'));
  return {
    ...Object.fromEntries(others.map((unit) => [`f:${unit}`, {}])),
    ...(units.includes('loadBalancer/ingress') ? { 'f:loadBalancer': { 'f:ingress': {} } } : {}),
    ...(conditions.length === 0
      ? {}
      : {
          'f:conditions': Object.fromEntries(
            conditions.map((unit) => [`k:{"type":"${unit.slice('conditions/'.length)}"}`, { '.': {}, 'f:type': {} }]),
          ),
        }),
  };
}

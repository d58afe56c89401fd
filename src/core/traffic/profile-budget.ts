import type { ServiceKey } from '../model/names.ts';
import { byAge, type Service } from '../model/service.ts';
import { isSameMap, PersistentMap } from '../persistent-map.ts';
import { requestedDataplane } from './dataplane.ts';
import { hasAffinity, profilesOf } from './port-options.ts';

/** The most profiles of HAProxy. Each one has backends that are declared ahead, and costs a reload when it is new. */
export const mostProfiles = 64;

/** Services whose profile exceeds the most: they have the usual one. Each with the profile in use that is most like its own. */
export type ProfileExcess = ReadonlyMap<ServiceKey, string>;

type Services = PersistentMap<ServiceKey, Service>;

const none: ProfileExcess = new Map();

/**
 * Finds the Services whose profile exceeds `most`. The profiles of older Services have precedence. Pure, except for a
 * cache: what it remembers of the last call saves work. Returns the same object for the same result.
 */
export function makeProfileBudget(most: number = mostProfiles): (services: Services) => ProfileExcess {
  let services: Services = PersistentMap.empty();
  const profiles = new Map<ServiceKey, ReadonlySet<string>>();
  let excess = none;
  return (next) => {
    const changed = PersistentMap.changedKeys(services, next);
    for (const key of changed) {
      const texts = profilesOfService(next.get(key));
      if (texts.size === 0) profiles.delete(key);
      else profiles.set(key, texts);
    }
    services = next;
    if (changed.length === 0) return excess;
    const found =
      new Set(Array.from(profiles.values(), (texts) => [...texts]).flat()).size <= most
        ? none
        : excessOf(profiles, services, most);
    if (!isSameMap(found, excess)) excess = found;
    return excess;
  };
}

/** Empty: only the usual one, or none because HAProxy does not serve the Service. */
function profilesOfService(service: Service | undefined): ReadonlySet<string> {
  const isServed = service !== undefined && (requestedDataplane(service.spec) ?? 'haproxy') === 'haproxy';
  const mayHave = isServed && (service.spec.options.length > 0 || hasAffinity(service.spec));
  return mayHave ? profilesOf(service.spec) : new Set();
}

function excessOf(
  profiles: ReadonlyMap<ServiceKey, ReadonlySet<string>>,
  services: Services,
  most: number,
): ProfileExcess {
  const taken = new Set<string>();
  const left: (readonly [ServiceKey, string])[] = [];
  for (const [key, texts] of byAge(profiles, services)) {
    const fresh = [...texts].filter((text) => !taken.has(text));
    const [first] = fresh;
    if (first === undefined || taken.size + fresh.length <= most) for (const text of fresh) taken.add(text);
    else left.push([key, first]);
  }
  const settings = new Map(Array.from(taken, (text) => [text, settingsOf(text)]));
  return new Map(left.map(([key, text]) => [key, nearest(text, settings)]));
}

/** The settings of a profile by their names. */
type ProfileSettings = ReadonlyMap<string, string>;

function settingsOf(text: string): ProfileSettings {
  return new Map(
    text.split(' ').map((word) => {
      const [name = '', ...value] = word.split('=');
      return [name, value.join('=')];
    }),
  );
}

/** The one with the most settings in common, and the nearest values of the others; of several, the first. */
function nearest(text: string, taken: ReadonlyMap<string, ProfileSettings>): string {
  const wanted = settingsOf(text);
  let [best, most] = ['', -1];
  for (const [other, settings] of taken) {
    let likeness = 0;
    for (const [name, value] of settings) likeness += likenessOf(wanted.get(name), value);
    if (likeness > most) [best, most] = [other, likeness];
  }
  return best;
}

/** 1: the same value; below 0.1, so that many of these count less than one of those: another one; 0: another setting. */
function likenessOf(wanted: string | undefined, value: string): number {
  if (wanted === value) return 1;
  const [x, y] = [Number.parseFloat(wanted ?? ''), Number.parseFloat(value)];
  return x > 0 && y > 0 ? (0.1 * Math.min(x, y)) / Math.max(x, y) : 0;
}

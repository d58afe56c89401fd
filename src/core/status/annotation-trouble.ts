import { optionPrefix } from '../model/contract.ts';
import type { ServiceSpec } from '../model/service.ts';
import { chooseDataplane, dataplaneTrouble } from '../traffic/dataplane.ts';
import type { Verdict } from '../reasons.ts';
import { decodeProxyOptions } from '../traffic/decode-options.ts';
import { profilesOf } from '../traffic/port-options.ts';
import { mostProfiles } from '../traffic/profile-budget.ts';

/** The annotations of furiwake that have no effect, each with the cause. */
export function annotationTrouble(spec: ServiceSpec): readonly string[] {
  return [...dataplaneTrouble(spec.dataplane), ...ignoredOptions(spec)];
}

/** Those about what only HAProxy does: not valid, or HAProxy can serve no port. */
function ignoredOptions(spec: ServiceSpec): readonly string[] {
  const { problems, used } = decodeProxyOptions(spec);
  if (used.length === 0 || spec.ports.some((port) => chooseDataplane(spec, port) === 'haproxy')) return problems;
  // The ports that need HAProxy are refused, with that as the cause.
  const needs = new Set(['proxy-protocol', 'http-mode'].map((name) => `${optionPrefix}${name}`));
  const idle = used.filter((name) => !needs.has(name));
  return [...problems, ...idle.map((name) => `annotation ${name} (only with HAProxy, for TCP)`)];
}

/** The settings of HAProxy that the Service does not get, because too many Services have others; `nearest`: see `makeProfileBudget`. */
export function profileTrouble(spec: ServiceSpec, nearest: string | undefined): readonly Verdict[] {
  if (nearest === undefined) return [];
  const withoutMode = (text: string): string => text.replace(/^mode=\w+ /, ''); // which the ports have nevertheless
  const wanted = [...new Set(Array.from(profilesOf(spec), withoutMode))].join(' and ');
  const message = `served with the usual settings and without ${wanted}: HAProxy has ${mostProfiles} profiles, the most that it can have; the one most like it is ${nearest}`;
  return [{ reason: 'TooManyProfiles', message }];
}

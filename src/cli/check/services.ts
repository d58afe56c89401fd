import { eligibilityOf } from '../../core/addresses/eligibility.ts';
import type { Service } from '../../core/model/service.ts';
import { type RunOptions, siteOf } from '../options.ts';
import { about, counted, type Finding, named, ok, warning } from './finding.ts';

/** How many Services furiwake would serve, and which another implementation holds. */
export function checkServices(services: readonly Service[], options: RunOptions): readonly Finding[] {
  const site = siteOf(options);
  const balanced = services.filter(({ spec }) => spec.type === 'LoadBalancer');
  if (balanced.length === 0) return [ok('none of type LoadBalancer')];
  const those = (wanted: string): readonly Service[] =>
    balanced.filter((service) => eligibilityOf(service, site, false) === wanted);
  const [ours, held, foreign] = [those('ours'), those('held'), those('foreign')];
  const pending = ours.filter(({ status }) => status.ingress.length === 0);
  const found = [
    `${ours.length} for furiwake (${pending.length} without an address)`,
    ...(held.length > 0 ? [`${held.length} held by another implementation`] : []),
    ...(foreign.length > 0 ? [`${foreign.length} of another class or namespace`] : []),
  ].join(', ');
  const counts = ok(`${counted(balanced.length, 'Service')} of type LoadBalancer: ${found}`);
  if (held.length === 0) return [counts];
  const holders = held.map(({ key, status }) => `${key} (${status.ingressManager ?? 'an unknown client'})`);
  return [
    counts,
    about(
      'held Services',
      warning(
        `another implementation has given addresses to ${named(holders)}; furiwake leaves them alone`,
        'set spec.loadBalancerClass, or disable the other implementation and empty their status.loadBalancer',
      ),
    ),
  ];
}

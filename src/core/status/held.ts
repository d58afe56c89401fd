import type { Service } from '../model/service.ts';

/** Why furiwake leaves a Service alone whose address another manager wrote. */
export function heldWords({ status: { ingress, ingressManager = 'an unknown client' } }: Service): string {
  const addresses = ingress.map(({ ip, hostname }) => ip ?? hostname).join(', ');
  return `${ingressManager} wrote ${addresses}, and the Service has no class: furiwake leaves it alone`;
}

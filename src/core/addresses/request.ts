import { type Family, type Ip, parseIp } from '../ip/ip.ts';
import type { Annotation, ServicePort, ServiceSpec } from '../model/service.ts';
import type { Site, SiteRange } from '../model/site.ts';
import type { Verdict } from '../reasons.ts';
import { chooseDataplane, mayMoveToDirect } from '../traffic/dataplane.ts';
import type { PortRefusal } from './assignment.ts';

/** The addresses that a Service requests, at most one per family, or why the request is not valid. */
export type AddressRequest =
  | { readonly ok: true; readonly addresses: readonly Ip[] }
  | { readonly ok: false; readonly verdict: Verdict };

/** The pool that a Service requests by its name; `ignored`: annotations that request one where no pool has a name. */
export type PoolRequest =
  | { readonly ok: true; readonly pool: string | undefined; readonly ignored: readonly string[] }
  | { readonly ok: false; readonly verdict: Verdict };

const nothing: AddressRequest = { ok: true, addresses: [] };
const shownTextLength = 64;

/**
 * Decodes `spec.loadBalancerIP` and the annotations that request addresses (comma-separated lists, at most one address of
 * each family). If there are several, they must request the same address of a family: kube-vip's cloud provider writes both
 * addresses into its annotation, and the first into the field.
 */
export function decodeAddressRequest(spec: ServiceSpec): AddressRequest {
  const found = new Map<Family, { readonly where: string; readonly ip: Ip }>();
  const sources: readonly Annotation[] = [
    ['spec.loadBalancerIP', spec.loadBalancerIp ?? ''],
    ...spec.addressAnnotations.map(([name, text]): Annotation => [`annotation ${name}`, text]),
  ];
  for (const [where, text] of sources) {
    const request = decodeList(text, where, spec.ipFamilies);
    if (!request.ok) return request;
    for (const ip of request.addresses) {
      const first = found.get(ip.family) ?? { where, ip };
      found.set(ip.family, first);
      if (ip.text !== first.ip.text)
        return refuse(
          'ConflictingRequest',
          `${first.where} requests ${first.ip.text}, ${where} requests ${ip.text}: remove one of them`,
        );
    }
  }
  return { ok: true, addresses: Array.from(found.values(), ({ ip }) => ip).sort((a, b) => a.family - b.family) };
}

/** Decodes the annotations that request a pool; `ranges`: of the site. */
export function decodePool(annotations: readonly Annotation[], ranges: readonly SiteRange[]): PoolRequest {
  const [first] = annotations;
  if (first === undefined) return { ok: true, pool: undefined, ignored: [] };
  const names = [...new Set(ranges.flatMap(({ name }) => name ?? []))];
  if (names.length === 0) return { ok: true, pool: undefined, ignored: annotations.map(([annotation]) => annotation) };
  const [where, pool] = first;
  const other = annotations.find(([, text]) => text !== pool);
  if (other !== undefined)
    return refuse(
      'ConflictingRequest',
      `annotation ${where} requests pool ${quote(pool)}, annotation ${other[0]} requests pool ${quote(other[1])}: remove one of them`,
    );
  if (names.includes(pool)) return { ok: true, pool, ignored: [] };
  return refuse(
    'PoolUnknown',
    `annotation ${where}: no pool is named ${quote(pool)}; --addresses has ${names.join(', ')}`,
  );
}

/** Sorts out the ports that a dataplane can serve, and says why each of the others cannot be served. */
export function decodePorts(
  spec: ServiceSpec,
  { handsOutOwn: isHostAddress }: Pick<Site, 'handsOutOwn'>,
): {
  readonly servable: readonly ServicePort[];
  readonly refused: readonly PortRefusal[];
} {
  const servable: ServicePort[] = [];
  const refused: PortRefusal[] = [];
  for (const port of spec.ports) {
    const able = chooseDataplane(spec, port);
    if (typeof able === 'string' || mayMoveToDirect(spec, { isHostAddress })) servable.push(port);
    else refused.push({ port, ...able });
  }
  return { servable, refused };
}

function decodeList(text: string, where: string, families: readonly Family[]): AddressRequest {
  if (text.trim() === '') return nothing;
  const addresses: Ip[] = [];
  for (const part of text.split(',', 3)) {
    const ip = parseIp(part.trim());
    if (ip === undefined) return refuse('InvalidRequest', `${where}: ${quote(part.trim())} is not an IP address`);
    if (ip.value === 0n)
      return refuse(
        'InvalidRequest',
        `${where}: ${ip.text} requests an address by DHCP, which furiwake does not support`,
      );
    if (addresses.some((other) => other.family === ip.family))
      return refuse('InvalidRequest', `${where}: more than one IPv${ip.family} address`);
    if (!families.includes(ip.family))
      return refuse(
        'InvalidRequest',
        `${where}: ${ip.text} is IPv${ip.family}, and the Service has only IPv${families.join(', IPv')} (spec.ipFamilies)`,
      );
    addresses.push(ip);
  }
  return { ok: true, addresses: addresses.sort((a, b) => a.family - b.family) };
}

function refuse(
  reason: 'InvalidRequest' | 'ConflictingRequest' | 'PoolUnknown',
  message: string,
): { readonly ok: false; readonly verdict: Verdict } {
  return { ok: false, verdict: { reason, message } };
}

/** Quotes a user's text for a message: short, on one line, in printable ASCII (nothing that controls a terminal). */
export function quote(text: string): string {
  const short = text.length > shownTextLength ? `${text.slice(0, shownTextLength)}…` : text;
  return JSON.stringify(short).replaceAll(
    /[^ -~\u2026]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

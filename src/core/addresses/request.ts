import { type Family, type Ip, parseIp } from '../ip/ip.ts';
import type { Annotation, ServicePort, ServiceSpec } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';
import { chooseDataplane } from '../traffic/dataplane.ts';
import type { PortRefusal } from './assignment.ts';

/** The addresses that a Service requests, at most one per family, or why the request is not valid. */
export type Request =
  | { readonly ok: true; readonly addresses: readonly Ip[] }
  | { readonly ok: false; readonly verdict: Verdict };

const nothing: Request = { ok: true, addresses: [] };
const shownTextLength = 64;

/**
 * Decodes `spec.loadBalancerIP` and the annotations that request addresses (comma-separated lists, at most one address of
 * each family). If there are several, all must request the same addresses.
 */
export function decodeRequest(spec: ServiceSpec): Request {
  let first: { readonly where: string; readonly texts: string; readonly request: Request } | undefined;
  const sources: readonly Annotation[] = [
    ['spec.loadBalancerIP', spec.loadBalancerIp ?? ''],
    ...spec.addressAnnotations.map(([name, text]): Annotation => [`annotation ${name}`, text]),
  ];
  for (const [where, text] of sources) {
    const request = decodeList(text, where, spec.ipFamilies);
    if (!request.ok) return request;
    if (request.addresses.length === 0) continue;
    const texts = request.addresses.map((ip) => ip.text).join(', ');
    first ??= { where, texts, request };
    if (texts !== first.texts)
      return refuse(
        'ConflictingRequest',
        `${first.where} requests ${first.texts}, ${where} requests ${texts}: remove one of them`,
      );
  }
  return first?.request ?? nothing;
}

/** Sorts out the ports that a dataplane can serve, and says why each of the others cannot be served. */
export function decodePorts(spec: ServiceSpec): {
  readonly servable: readonly ServicePort[];
  readonly refused: readonly PortRefusal[];
} {
  const servable: ServicePort[] = [];
  const refused: PortRefusal[] = [];
  for (const port of spec.ports) {
    const choice = chooseDataplane(spec, port);
    if (typeof choice === 'string') servable.push(port);
    else refused.push({ port, ...choice });
  }
  return { servable, refused };
}

function decodeList(text: string, where: string, families: readonly Family[]): Request {
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

function refuse(reason: 'InvalidRequest' | 'ConflictingRequest', message: string): Request {
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

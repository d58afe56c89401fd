import { type Family, type Ip, parseIp } from '../ip/ip.ts';
import type { ServiceSpec } from '../model/service.ts';
import type { Verdict } from '../reasons.ts';

/** The addresses that a Service asks for: none, at most one per family, or why they cannot be read. */
export type Request =
  | { readonly ok: true; readonly addresses: readonly Ip[] }
  | { readonly ok: false; readonly verdict: Verdict };

const nothing: Request = { ok: true, addresses: [] };
const shownTextLength = 64;

/** Decodes `spec.loadBalancerIP` and the annotation `furiwake.dev/addresses` (comma list, at most one per family). */
export function decodeRequest(spec: ServiceSpec): Request {
  const field = decodeList(spec.loadBalancerIp, 'spec.loadBalancerIP', spec.ipFamilies);
  const annotation = decodeList(spec.addressesAnnotation, 'annotation furiwake.dev/addresses', spec.ipFamilies);
  if (!field.ok) return field;
  if (!annotation.ok) return annotation;
  if (field.addresses.length === 0) return annotation;
  if (annotation.addresses.length === 0) return field;
  const texts = (addresses: readonly Ip[]): string => addresses.map((ip) => ip.text).join(', ');
  if (texts(field.addresses) === texts(annotation.addresses)) return field;
  return refuse(
    'ConflictingRequest',
    `spec.loadBalancerIP asks for ${texts(field.addresses)}, annotation furiwake.dev/addresses for ${texts(annotation.addresses)}: remove one of them`,
  );
}

function decodeList(text: string | undefined, where: string, families: readonly Family[]): Request {
  if (text === undefined || text.trim() === '') return nothing;
  const addresses: Ip[] = [];
  for (const part of text.split(',', 3)) {
    const ip = parseIp(part.trim());
    if (ip === undefined) return refuse('InvalidRequest', `${where}: ${quote(part.trim())} is no IP address`);
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

/** A user's text as it may be shown in a message: short, on one line, in printable ASCII (no control of a terminal, no turned direction). */
export function quote(text: string): string {
  const short = text.length > shownTextLength ? `${text.slice(0, shownTextLength)}…` : text;
  return JSON.stringify(short).replaceAll(
    /[^ -~\u2026]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

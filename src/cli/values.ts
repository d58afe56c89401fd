import * as z from 'zod';
import { parsePoolRange } from '../core/addresses/pool-range.ts';
import { quote } from '../core/addresses/request.ts';
import { parseDecimal, parseIp } from '../core/ip/ip.ts';
import { formatRange, type IpRange, rangesOverlap, subtractRanges } from '../core/ip/range.ts';
import {
  addressesAnnotations,
  backendsAnnotation,
  optionPrefix,
  poolAnnotations,
  sharingKeyAnnotations,
} from '../core/model/contract.ts';
import type { Annotation } from '../core/model/service.ts';
import type { SiteRange } from '../core/model/site.ts';
import { defaultTroubles } from '../core/traffic/defaults.ts';

/* How the values of flags are read. */

/** At least one entry, with commas between. */
const list = z
  .string()
  .transform((text) =>
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  )
  .refine((parts) => parts.length > 0, 'the list is empty: name at least one entry');

export const someText: z.ZodType<string> = z.string().min(1);

export const yesNo: z.ZodType<boolean> = z
  .enum(['yes', 'no', 'true', 'false', '1', '0'])
  .transform((text) => ['yes', 'true', '1'].includes(text));

const wholeNumber = (text: string): number => parseDecimal(text, 7) ?? Number.NaN;

const mostSeconds = 2_000_000;
export const seconds = (least: number): z.ZodType<number> =>
  z.string().transform(wholeNumber).pipe(z.int().min(least).max(mostSeconds));
export const secondsExpected = (least: number, example: number): string =>
  `seconds from ${least} to ${mostSeconds}, e.g. ${example}`;

/** RFC 1123 label. */
export const namespaceName: z.ZodType<string, string> = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);

/** `namespace/name` of a Service: an RFC 1123 label and an RFC 1123 subdomain. */
export function isServiceName(text: string): boolean {
  const [namespace = '', name = '', ...rest] = text.split('/');
  const isSubdomain = name.length <= 253 && name.split('.').every((label) => namespaceName.safeParse(label).success);
  return rest.length === 0 && namespaceName.safeParse(namespace).success && isSubdomain;
}

export const namespaceSet: z.ZodType<ReadonlySet<string>> = list
  .pipe(z.array(namespaceName))
  .transform((names) => new Set(names));

/** As `spec.loadBalancerClass`: a label-style name. */
export const classPattern: RegExp =
  /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
/** The value of a label. */
export const zoneName: z.ZodType<string> = z.string().regex(/^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/);

export const className: z.ZodType<string> = z.string().regex(classPattern);

const mostRanges = 1_000;

const onRequestPrefix = 'on-request:';
/** As names of objects in Kubernetes. */
const poolName = /^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$/;

/** The entries with one name, or those without. */
type NamedRanges = { readonly free: IpRange[]; readonly onRequest: IpRange[] };

/**
 * Entries `addresses`, `on-request:addresses` and `NAME=` before either, where `addresses` is a single address, a CIDR or
 * `first-last`. An address in several entries is of the one that says most: one with a name, else one on request.
 */
export const addressRanges: z.ZodType<readonly SiteRange[]> = list.transform((entries, context) => {
  const refuse = (message: string): never => {
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  };
  if (entries.length > mostRanges)
    return refuse(
      `the list has ${entries.length} entries, and at most ${mostRanges} are possible; write neighbouring addresses as a range`,
    );
  const pools = new Map<string | undefined, NamedRanges>();
  const named: { readonly name: string; readonly range: IpRange }[] = [];
  for (const entry of entries) {
    const [name, text] = entry.includes('=') ? splitOnce(entry, '=') : [undefined, entry];
    if (name !== undefined && !poolName.test(name))
      return refuse(`${quote(name)} is not a name of a pool; use lower-case letters, digits, "-" and "."`);
    const isOnRequest = text.startsWith(onRequestPrefix);
    const found = parsePoolRange(isOnRequest ? text.slice(onRequestPrefix.length) : text);
    if (!found.ok) return refuse(found.problem);
    const { range } = found;
    const other = named.find((each) => each.name !== name && rangesOverlap(each.range, range));
    if (name !== undefined && other !== undefined)
      return refuse(`${formatRange(range)} of pool ${name} overlaps ${formatRange(other.range)} of pool ${other.name}`);
    if (name !== undefined) named.push({ name, range });
    const pool = pools.get(name) ?? { free: [], onRequest: [] };
    pool[isOnRequest ? 'onRequest' : 'free'].push(range);
    pools.set(name, pool);
  }
  return [...pools].flatMap(([name, { free, onRequest }]): readonly SiteRange[] => {
    const mark = name === undefined ? {} : { name };
    const others = name === undefined ? named.map(({ range }) => range) : [];
    return [
      ...subtractRanges(free, [...onRequest, ...others]).map((range) => ({ ...range, ...mark })),
      ...subtractRanges(onRequest, others).map((range) => ({ ...range, ...mark, isOnRequest: true as const })),
    ];
  });
});

function splitOnce(text: string, separator: string): readonly [string, string] {
  const at = text.indexOf(separator);
  return [text.slice(0, at), text.slice(at + separator.length)];
}

/** `NAME=VALUE` of annotations, with spaces between. */
export const defaultAnnotations: z.ZodType<readonly Annotation[]> = z
  .string()
  .default('')
  .transform((text, context) => {
    const refuse = (message: string): never => {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    };
    const found = new Map<string, string>();
    for (const entry of text.split(/\s+/).filter((part) => part !== '')) {
      const [name, value] = entry.includes('=') ? splitOnce(entry, '=') : [entry, ''];
      if (found.has(name)) return refuse(`${name} has two values`);
      if (otherAnnotations.has(name)) return refuse(`annotation ${name} cannot have a default`);
      if (value === '' || !name.startsWith(optionPrefix))
        return refuse(`expected NAME=VALUE, e.g. ${backendsAnnotation}=pods`);
      found.set(name, value);
    }
    const [trouble] = defaultTroubles([...found]);
    return trouble === undefined ? [...found] : refuse(trouble);
  });

/** They are about one Service. */
const otherAnnotations = new Set([...addressesAnnotations, ...poolAnnotations, ...sharingKeyAnnotations]);

export const portSet: z.ZodType<ReadonlySet<number>> = z
  .string()
  .transform((text) => (text.trim() === '' ? [] : text.split(',').map((part) => wholeNumber(part.trim()))))
  .pipe(z.array(z.int().min(1).max(65_535)))
  .transform((ports) => new Set(ports));

/** The path ends up in HAProxy's configuration; sockets live in the folder, and a socket's path holds 107 bytes. */
export const stateFolder: z.ZodType<string> = z
  .string()
  .max(80)
  .regex(/^\/+[A-Za-z0-9_.-][A-Za-z0-9/_.-]*$/)
  .transform((text) => text.replace(/\/+$/, ''));

/** `host:port`, `[host]:port`, `:port` (all addresses); `undefined` for `none`. */
export const listenAddress: z.ZodType<{ readonly host: string; readonly port: number } | undefined> = z
  .string()
  .transform((text, context) => {
    if (text === '' || text === 'none') return undefined;
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):([0-9]{1,5})$/.exec(text);
    const port = Number(match?.[3]);
    if (match !== null && port <= 65_535) return { host: match[1] || match[2] || '::', port };
    context.addIssue({ code: 'invalid_format', format: 'host:port' });
    return z.NEVER;
  });

/** An IP address with a port: HAProxy does not start with a name that cannot be resolved. */
export const syslogAddress: z.ZodType<{ readonly host: string; readonly port: number }> = z
  .string()
  .transform((text, context) => {
    const match = /^(?:\[([^\]]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(text);
    const [ip, port] = [parseIp(match?.[1] ?? match?.[2] ?? ''), Number(match?.[3])];
    const isWhole = (ip?.family === 6) === (match?.[1] !== undefined);
    if (ip !== undefined && isWhole && port >= 1 && port <= 65_535) return { host: ip.text, port };
    context.addIssue({ code: 'invalid_format', format: 'ip:port' });
    return z.NEVER;
  });

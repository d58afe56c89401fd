import { quote } from '../addresses/request.ts';
import {
  addressesAnnotations,
  backendsAnnotation,
  dataplaneAnnotation,
  optionPrefix,
  poolAnnotations,
  sharingKeyAnnotations,
} from '../model/contract.ts';
import type { ServicePort, ServiceSpec } from '../model/service.ts';
import { cutAt } from '../text.ts';
import { mostSimilar } from '../similar.ts';
import { balance, checks, connections, duration, healthCheck, type OptionFormat, yes } from './option-formats.ts';
import { type Limits, noLimits, plainProfile, plainServer, type Profile, type ServerOptions } from './options.ts';

/** The part of a Service that the annotations are decoded from. */
export type OptionsRequest = Pick<ServiceSpec, 'options' | 'ports'>;

export type ProxyOptions = {
  readonly limits: Limits;
  /** Of its servers, without the PROXY protocol. */
  readonly server: ServerOptions;
  /** Of a port in TCP mode. */
  readonly profile: Profile;
  /** The TCP ports in HTTP mode. */
  readonly http: ReadonlySet<number>;
  /** The version of the PROXY protocol by TCP port. */
  readonly proxyProtocol: ReadonlyMap<number, 1 | 2>;
  readonly isMeasured: boolean;
  /** The names of the annotations of the Service that are valid. */
  readonly used: readonly string[];
  /** What is ignored and why, one line for each annotation. */
  readonly problems: readonly string[];
};

/** The names of all annotations that are decoded here, without their prefix. */
export const optionNames = [
  'proxy-protocol',
  'http-mode',
  'max-connections',
  'max-connections-per-client',
  'connection-rate',
  'connection-rate-per-client',
  'max-connections-per-server',
  'slow-start',
  'drain-time',
  'connect-timeout',
  'idle-timeout',
  'server-timeout',
  'balance',
  'health-check',
  'health-check-interval',
  'health-check-fall',
  'health-check-rise',
  'server-metrics',
] as const;
type OptionName = (typeof optionNames)[number];

/** The names of all annotations of furiwake, without their prefix. */
const ownNames: readonly string[] = [
  ...optionNames,
  ...[dataplaneAnnotation, backendsAnnotation, ...addressesAnnotations, ...poolAnnotations, ...sharingKeyAnnotations]
    .filter((name) => name.startsWith(optionPrefix))
    .map((name) => name.slice(optionPrefix.length)),
];

const defaultCheck = { intervalMs: 2000, fall: 3, rise: 2 };
const nothing: ProxyOptions = {
  limits: noLimits,
  server: plainServer,
  profile: plainProfile,
  http: new Set(),
  proxyProtocol: new Map(),
  isMeasured: false,
  used: [],
  problems: [],
};

const decoded = new WeakMap<
  OptionsRequest['options'],
  { readonly ports: OptionsRequest['ports']; readonly options: ProxyOptions }
>();

/**
 * Decodes the annotations about what only HAProxy does. Total: a text that is not valid is a problem and has no other effect.
 * A spec that did not change is decoded once.
 */
export function decodeProxyOptions({ options, ports }: OptionsRequest): ProxyOptions {
  if (options.length === 0) return nothing;
  const known = decoded.get(options);
  if (known?.ports === ports) return known.options;
  const result = decode(options, ports);
  decoded.set(options, { ports, options: result });
  return result;
}

function decode(annotations: OptionsRequest['options'], ports: OptionsRequest['ports']): ProxyOptions {
  const texts = new Map<OptionName, string>();
  const ofSite = new Set<OptionName>();
  const ignored = new Set<OptionName>();
  const problems: string[] = [];
  for (const [name, text, origin] of annotations) {
    const known = optionNames.find((short) => name === `${optionPrefix}${short}`);
    if (known === undefined) {
      problems.push(unknown(name));
      continue;
    }
    texts.set(known, text);
    if (origin === 'site') ofSite.add(known);
  }
  const ignore = (name: OptionName, text: string, why: string): void => {
    ignored.add(name);
    problems.push(`annotation ${optionPrefix}${name}=${quote(text)} (${why})`);
  };
  const read = <T>(name: OptionName, setting: OptionFormat<T>): T | undefined => {
    const text = texts.get(name);
    const value = text === undefined ? undefined : setting.read(text);
    if (text !== undefined && value === undefined) ignore(name, text, `valid: ${setting.valid}`);
    return value;
  };
  const checkPath = read('health-check', healthCheck);
  for (const [name, text] of checkPath === undefined ? texts : []) {
    if (!name.startsWith('health-check-') || ofSite.has(name)) continue;
    ignore(name, text, `only with a valid ${optionPrefix}health-check`);
    texts.delete(name);
  }
  const check = {
    intervalMs: read('health-check-interval', duration('500ms', '1h')) ?? defaultCheck.intervalMs,
    fall: read('health-check-fall', checks) ?? defaultCheck.fall,
    rise: read('health-check-rise', checks) ?? defaultCheck.rise,
  };
  const proxyText = texts.get('proxy-protocol');
  const httpText = texts.get('http-mode');
  const options: Omit<ProxyOptions, 'used' | 'problems'> = {
    limits: {
      connections: read('max-connections', connections) ?? 0,
      rate: read('connection-rate', connections) ?? 0,
      clientConnections: read('max-connections-per-client', connections) ?? 0,
      clientRate: read('connection-rate-per-client', connections) ?? 0,
    },
    server: {
      proxyProtocol: 0,
      mostConnections: read('max-connections-per-server', connections) ?? 0,
      slowStartMs: read('slow-start', duration('1s', '1h')) ?? 0,
      drainMs: read('drain-time', duration('1s', '24h')) ?? 0,
      check: checkPath === undefined ? undefined : check,
    },
    profile: {
      mode: plainProfile.mode,
      balance: read('balance', balance) ?? plainProfile.balance,
      connectTimeoutMs: read('connect-timeout', duration('50ms', '60s')) ?? 0,
      idleTimeoutMs: read('idle-timeout', duration('1s', '24h')) ?? 0,
      serverTimeoutMs: read('server-timeout', duration('1s', '24h')) ?? 0,
      affinitySeconds: 0,
      checkPath: checkPath ?? '',
    },
    isMeasured: read('server-metrics', yes) ?? false,
    proxyProtocol:
      proxyText === undefined
        ? nothing.proxyProtocol
        : decodeProxyProtocol(proxyText, ports, ofSite.has('proxy-protocol'), (why) =>
            ignore('proxy-protocol', proxyText, why),
          ),
    http:
      httpText === undefined
        ? nothing.http
        : decodeHttpMode(httpText, ports, ofSite.has('http-mode'), (why) => ignore('http-mode', httpText, why)),
  };
  const timeoutText = texts.get('server-timeout');
  if (
    timeoutText !== undefined &&
    options.http.size === 0 &&
    !ignored.has('server-timeout') &&
    !ofSite.has('server-timeout')
  )
    ignore('server-timeout', timeoutText, `only with a valid ${optionPrefix}http-mode`);
  const used = [...texts.keys()]
    .filter((name) => !ignored.has(name) && !ofSite.has(name))
    .map((name) => `${optionPrefix}${name}`);
  return { ...options, used, problems };
}

/** `v2` for all TCP ports, or `smtp-proxy=v1,465=v2` for some, by number or name. */
function decodeProxyProtocol(
  text: string,
  ports: readonly ServicePort[],
  isOfSite: boolean,
  ignore: (why: string) => void,
): ProxyOptions['proxyProtocol'] {
  const versions = new Map<number, 1 | 2>();
  const tcp = ports.filter(({ protocol }) => protocol === 'TCP');
  for (const part of text.split(',')) {
    const [, where, digit] = /^\s*(?:([a-z0-9-]{1,63})=)?v([12])\s*$/.exec(part) ?? [];
    if (digit === undefined) {
      ignore('valid: v1, v2, or a list such as 443=v2,imaps=v1');
      return nothing.proxyProtocol;
    }
    const found = tcp.filter(({ port, name }) => where === undefined || String(port) === where || name === where);
    if (found.length === 0 && !isOfSite) {
      ignore(`no TCP port ${where ?? ''}`.trim());
      return nothing.proxyProtocol;
    }
    for (const { port } of found) versions.set(port, digit === '1' ? 1 : 2);
  }
  return versions;
}

/** `all` TCP ports, or some, by number or name. */
function decodeHttpMode(
  text: string,
  ports: readonly ServicePort[],
  isOfSite: boolean,
  ignore: (why: string) => void,
): ProxyOptions['http'] {
  const tcp = ports.filter(({ protocol }) => protocol === 'TCP');
  const found = new Set<number>();
  for (const where of text.split(',').map((part) => part.trim())) {
    const named = tcp.filter(({ port, name }) => where === 'all' || String(port) === where || name === where);
    const isName = /^[a-z0-9-]{1,63}$/.test(where);
    if (named.length === 0 && !(isOfSite && isName)) {
      ignore(isName ? `no TCP port ${where}` : 'valid: all, or a list such as 80,web');
      return nothing.http;
    }
    for (const { port } of named) found.add(port);
  }
  return found;
}

/** The longest name of an annotation in a message. */
const mostShown = 100;

function unknown(name: string): string {
  const shown = cutAt(name, mostShown);
  const similar = mostSimilar(shown.slice(optionPrefix.length), ownNames);
  return `annotation ${shown} (unknown${similar === undefined ? '' : `; did you mean ${optionPrefix}${similar}?`})`;
}

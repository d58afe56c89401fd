import { quote } from '../addresses/request.ts';
import { optionPrefix } from '../model/contract.ts';
import type { ServicePort, ServiceSpec } from '../model/service.ts';
import { balance, checks, connections, duration, healthCheck, type OptionFormat, yes } from './option-formats.ts';
import {
  hasOwnBackend,
  type Limits,
  type ListenerOptions,
  noLimits,
  plainProfile,
  plainServer,
  type Profile,
  profileText,
  type ServerOptions,
} from './options.ts';

/** The part of a Service that the annotations are decoded from. */
export type OptionsRequest = Pick<ServiceSpec, 'options' | 'ports'>;

/** With the affinity to Pods. */
type HaproxyRequest = OptionsRequest & Pick<ServiceSpec, 'backends' | 'sessionAffinity' | 'affinitySeconds'>;

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
  /** The names of the annotations that are valid. */
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
  const ignored = new Set<OptionName>();
  const problems: string[] = [];
  for (const [name, text] of annotations) {
    const known = optionNames.find((short) => name === `${optionPrefix}${short}`);
    if (known === undefined) problems.push(`annotation ${shown(name)} (unknown)`);
    else texts.set(known, text);
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
  for (const [name, text] of checkPath === undefined ? texts : [])
    if (name.startsWith('health-check-')) ignore(name, text, `only with a valid ${optionPrefix}health-check`);
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
      check:
        checkPath === undefined
          ? undefined
          : {
              intervalMs: read('health-check-interval', duration('500ms', '1h')) ?? defaultCheck.intervalMs,
              fall: read('health-check-fall', checks) ?? defaultCheck.fall,
              rise: read('health-check-rise', checks) ?? defaultCheck.rise,
            },
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
        : decodeProxyProtocol(proxyText, ports, (why) => ignore('proxy-protocol', proxyText, why)),
    http:
      httpText === undefined
        ? nothing.http
        : decodeHttpMode(httpText, ports, (why) => ignore('http-mode', httpText, why)),
  };
  const timeoutText = texts.get('server-timeout');
  if (timeoutText !== undefined && options.http.size === 0 && !ignored.has('server-timeout'))
    ignore('server-timeout', timeoutText, `only with a valid ${optionPrefix}http-mode`);
  const used = [...texts.keys()].filter((name) => !ignored.has(name)).map((name) => `${optionPrefix}${name}`);
  return { ...options, used, problems };
}

/** `v2` for all TCP ports, or `smtp-proxy=v1,465=v2` for some, by number or name. */
function decodeProxyProtocol(
  text: string,
  ports: readonly ServicePort[],
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
    if (found.length === 0) {
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
  ignore: (why: string) => void,
): ProxyOptions['http'] {
  const tcp = ports.filter(({ protocol }) => protocol === 'TCP');
  const found = new Set<number>();
  for (const where of text.split(',').map((part) => part.trim())) {
    const named = tcp.filter(({ port, name }) => where === 'all' || String(port) === where || name === where);
    if (named.length === 0) {
      ignore(/^[a-z0-9-]{1,63}$/.test(where) ? `no TCP port ${where}` : 'valid: all, or a list such as 80,web');
      return nothing.http;
    }
    for (const { port } of named) found.add(port);
  }
  return found;
}

/** The longest name of an annotation in a message. */
const mostShown = 100;

function shown(name: string): string {
  return name.length <= mostShown ? name : `${name.slice(0, mostShown)}…`;
}

/** The options of one port; `undefined`: none, HAProxy treats it as the others. `isPlain`: the profile of the Service is not available. */
export function optionsOfPort(
  request: HaproxyRequest,
  { port, protocol }: Pick<ServicePort, 'port' | 'protocol'>,
  isPlain: boolean,
): ListenerOptions | undefined {
  if (protocol !== 'TCP') return undefined;
  const options = annotatedOptions(request, port, isPlain);
  const affinitySeconds = hasAffinity(request) && !isPlain ? request.affinitySeconds : 0;
  const all = { ...options, profile: { ...options.profile, affinitySeconds } };
  return isUsual(all) ? undefined : all;
}

function annotatedOptions(request: OptionsRequest, port: number, isPlain: boolean): ListenerOptions {
  const { limits, server, profile, proxyProtocol, http, isMeasured } = decodeProxyOptions(request);
  const { serverTimeoutMs, ...rest } = isPlain ? plainProfile : profile;
  const mode = http.has(port) ? 'http' : 'tcp';
  return {
    limits,
    server: { ...server, proxyProtocol: proxyProtocol.get(port) ?? 0 },
    profile: { ...rest, mode, serverTimeoutMs: mode === 'http' ? serverTimeoutMs : 0 },
    isMeasured,
  };
}

/** Whether HAProxy keeps a client with its Pod. With nodes as servers it cannot: kube-proxy chooses the Pod. */
export function hasAffinity({
  backends,
  sessionAffinity,
}: Pick<HaproxyRequest, 'backends' | 'sessionAffinity'>): boolean {
  return sessionAffinity === 'ClientIP' && backends === 'pods';
}

function isUsual(options: ListenerOptions): boolean {
  return hasOwnBackend(options) ? false : Object.values(options.limits).every((limit) => limit === 0);
}

/** What the port needs and only HAProxy does, as words: its server relies on it. `undefined`: any dataplane can serve the port. */
export function haproxyNeed(request: OptionsRequest, { port, protocol }: ServicePort): string | undefined {
  if (protocol !== 'TCP') return undefined;
  const { http, proxyProtocol } = decodeProxyOptions(request);
  return proxyProtocol.has(port) ? 'the PROXY protocol' : http.has(port) ? 'HTTP mode' : undefined;
}

/** The profiles that the Service asks for, other than the usual one. */
export function profilesOf(request: HaproxyRequest): ReadonlySet<string> {
  const texts = request.ports.map((port) => profileText(optionsOfPort(request, port, false)?.profile ?? plainProfile));
  return new Set(texts.filter((text) => text !== ''));
}

/** Whether an annotation of the Service asks for anything that only HAProxy does. */
export function asksForHaproxy(request: OptionsRequest): boolean {
  return request.ports.some(
    ({ port, protocol }) => protocol === 'TCP' && !isUsual(annotatedOptions(request, port, false)),
  );
}

import type { ServicePort, ServiceSpec } from '../model/service.ts';
import { decodeProxyOptions, type OptionsRequest } from './decode-options.ts';
import {
  hasOwnBackend,
  isUsualProfile,
  type ListenerOptions,
  plainProfile,
  profileText,
  usualAffinitySeconds,
} from './options.ts';

/** With the affinity to Pods. */
type HaproxyRequest = OptionsRequest & Pick<ServiceSpec, 'backends' | 'sessionAffinity' | 'affinitySeconds'>;

/** The options of one port; `undefined`: none, HAProxy treats it as the others. `isPlain`: the profile of the Service is not available. */
export function optionsOfPort(
  request: HaproxyRequest,
  { port, protocol }: Pick<ServicePort, 'port' | 'protocol'>,
  isPlain: boolean,
): ListenerOptions | undefined {
  if (protocol !== 'TCP') return undefined;
  const options = annotatedOptions(request, port, isPlain);
  const wantedSeconds = isPlain ? usualAffinitySeconds : request.affinitySeconds;
  const affinitySeconds = hasAffinity(request) ? wantedSeconds : 0;
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

/** The profiles that the Service asks for, other than the usual ones. */
export function profilesOf(request: HaproxyRequest): ReadonlySet<string> {
  const profiles = request.ports.map((port) => optionsOfPort(request, port, false)?.profile ?? plainProfile);
  return new Set(profiles.filter((profile) => !isUsualProfile(profile)).map(profileText));
}

const answered = new WeakMap<
  OptionsRequest['ports'],
  { readonly options: OptionsRequest['options']; readonly isAsked: boolean }
>();

/**
 * Whether the Service asks for anything that only HAProxy does. A default of the site is not a request of the Service, but what its
 * servers rely on is. Answered once for a spec, because each of its ports depends on it.
 */
export function asksForHaproxy({ options, ports }: OptionsRequest): boolean {
  const known = answered.get(ports);
  if (known?.options === options) return known.isAsked;
  const own = { options: ownOptions(options), ports };
  const isAsked = ports.some(
    (port) =>
      haproxyNeed({ options, ports }, port) !== undefined ||
      (port.protocol === 'TCP' && !isUsual(annotatedOptions(own, port.port, false))),
  );
  answered.set(ports, { options, isAsked });
  return isAsked;
}

/** Without the defaults of the site. */
function ownOptions(options: OptionsRequest['options']): OptionsRequest['options'] {
  return options.some(([, , origin]) => origin === 'site')
    ? options.filter(([, , origin]) => origin === undefined)
    : options;
}

/**
 * How HAProxy spreads connections over the servers of a backend. `source`: by the address of the client, as a consistent hash, with
 * which few clients move when a server comes or goes; HAProxy can add no server at run time with another hash.
 */
export const balances = ['roundrobin', 'leastconn', 'source'] as const;
export type Balance = (typeof balances)[number];

export const modes = ['tcp', 'http'] as const;
type Mode = (typeof modes)[number];

/** Limits on connections; 0: none. They are values in HAProxy's map, so that a change costs no reload. */
export type Limits = {
  /** At once, of all listeners of the Service together. */
  readonly connections: number;
  /** New ones per second. */
  readonly rate: number;
  /** The same for each client address; for IPv6 each /64, the smallest network that a client gets. */
  readonly clientConnections: number;
  readonly clientRate: number;
};

/** What HAProxy fixes when it adds a server. A server can be added at run time, so that a change costs no reload. */
export type ServerOptions = {
  /** Version of the PROXY protocol header in front of each connection; 0: none. */
  readonly proxyProtocol: 0 | 1 | 2;
  /** Further connections wait in a queue. 0: no limit. */
  readonly mostConnections: number;
  /** Time until a new server gets its full share of connections. */
  readonly slowStartMs: number;
  /** How long connections of a server that drains or is removed may continue; 0: until they end. */
  readonly drainMs: number;
  /** A check of its own, beside that of the node; `undefined`: the check of the node alone decides. */
  readonly check: { readonly intervalMs: number; readonly fall: number; readonly rise: number } | undefined;
};

/** What HAProxy fixes for a backend. A backend cannot be added at run time: a new profile costs one reload. */
export type Profile = {
  /** `http`: HAProxy reads the requests, and adds the address of the client to them. */
  readonly mode: Mode;
  readonly balance: Balance;
  /** 0: that of the site. */
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** In HTTP mode, the time in which a server must send its next bytes; 0: as long as a connection may be idle. */
  readonly serverTimeoutMs: number;
  /** How long a client stays with its server after its last connection (`sessionAffinity: ClientIP`); 0: no affinity. */
  readonly affinitySeconds: number;
  /** Path of the HTTP check of a server; empty: a check is a TCP connection. */
  readonly checkPath: string;
};

/** A path of an HTTP check, or none: only characters that end no word and start nothing in HAProxy's configuration. */
export const checkPathPattern: RegExp = /^(?:\/[\w.~/?=&-]{0,127})?$/;

/** What HAProxy does for a listener beyond carrying its bytes. Every value is validated. */
export type ListenerOptions = {
  readonly limits: Limits;
  readonly server: ServerOptions;
  readonly profile: Profile;
  /** Its servers are measured, each on its own. */
  readonly isMeasured: boolean;
};

export const noLimits: Limits = { connections: 0, rate: 0, clientConnections: 0, clientRate: 0 };
export const plainServer: ServerOptions = {
  proxyProtocol: 0,
  mostConnections: 0,
  slowStartMs: 0,
  drainMs: 0,
  check: undefined,
};
export const plainProfile: Profile = {
  mode: 'tcp',
  balance: 'roundrobin',
  connectTimeoutMs: 0,
  idleTimeoutMs: 0,
  serverTimeoutMs: 0,
  affinitySeconds: 0,
  checkPath: '',
};
/** The timeout of `sessionAffinity: ClientIP` in a Service that does not set one. */
export const usualAffinitySeconds = 10_800;

/** HAProxy has backends with these from its start: what most Services with HTTP mode or affinity need waits for no reload. */
export const usualProfiles: readonly Profile[] = modes.flatMap((mode) =>
  [0, usualAffinitySeconds].map((affinitySeconds) => ({ ...plainProfile, mode, affinitySeconds })),
);

/** The usual profile that is most like this one: with its mode, and with affinity if this one has it. */
export function usualProfile({ mode, affinitySeconds }: Pick<Profile, 'mode' | 'affinitySeconds'>): Profile {
  const usual = usualProfiles.find((each) => each.mode === mode && each.affinitySeconds > 0 === affinitySeconds > 0);
  return usual ?? plainProfile;
}

export function isUsualProfile(profile: Profile): boolean {
  return profileText(profile) === profileText(usualProfile(profile));
}

/** The settings of a profile that differ from the usual ones: `balance=leastconn idle-timeout=30000ms`. Equal profiles have equal texts. */
export function profileText(profile: Profile): string {
  const { mode, balance, connectTimeoutMs, idleTimeoutMs, serverTimeoutMs, affinitySeconds, checkPath } = profile;
  return [
    mode !== plainProfile.mode && `mode=${mode}`,
    balance !== plainProfile.balance && `balance=${balance}`,
    connectTimeoutMs > 0 && `connect-timeout=${connectTimeoutMs}ms`,
    idleTimeoutMs > 0 && `idle-timeout=${idleTimeoutMs}ms`,
    serverTimeoutMs > 0 && `server-timeout=${serverTimeoutMs}ms`,
    affinitySeconds > 0 && `affinity=${affinitySeconds}s`,
    checkPath !== '' && `health-check=http:${checkPath}`,
  ]
    .filter((part) => part !== false)
    .join(' ');
}

/** The settings of each server that differ from the usual ones, as words of letters and digits; empty: none. */
export function serverText({ proxyProtocol, mostConnections, slowStartMs, drainMs, check }: ServerOptions): string {
  return [
    proxyProtocol > 0 && `proxy${proxyProtocol}`,
    mostConnections > 0 && `most${mostConnections}`,
    slowStartMs > 0 && `slow${slowStartMs}`,
    drainMs > 0 && `drain${drainMs}`,
    check !== undefined && `check${check.intervalMs}-${check.fall}-${check.rise}`,
  ]
    .filter((part) => part !== false)
    .join('.');
}

/** The same text for the same options. */
export function optionsText({ limits, server, profile, isMeasured }: ListenerOptions): string {
  const { connections, rate, clientConnections, clientRate } = limits;
  return [
    connections,
    rate,
    clientConnections,
    clientRate,
    serverText(server),
    profileText(profile),
    ...(isMeasured ? ['measured'] : []),
  ].join(' ');
}

/** Whether a listener with these options cannot use the backend that others use. */
export function hasOwnBackend({ server, profile, isMeasured }: Omit<ListenerOptions, 'limits'>): boolean {
  return isMeasured || serverText(server) !== '' || profileText(profile) !== '';
}

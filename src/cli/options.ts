import * as z from 'zod';
import type { Site, SiteRange } from '../core/model/site.ts';
import { defaultLoadBalancerClass } from '../core/model/contract.ts';
import { mostListed } from '../daemon/ended-connections.ts';
import { decodeFlags, type Flag, type Flags } from './flags.ts';
import { trafficFlags, type TrafficOptions } from './traffic-flags.ts';
import {
  addressRanges,
  className,
  listenAddress,
  namespaceName,
  namespaceSet,
  portSet,
  someText,
  stateFolder,
  yesNo,
} from './values.ts';

/*
 * All flags, once: the command line, the environment variables, the help and docs/flags.md (tools/flags.test.ts) follow
 * from them.
 */

/** Which cluster, and which of its Services. */
type ScopeOptions = {
  /** Path, or several with `:` between. */
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly leaseNamespace: string;
  readonly loadBalancerClass: string;
  readonly takesDefaultClass: boolean;
  /** `undefined`: all. */
  readonly namespaces: ReadonlySet<string> | undefined;
  readonly stateDir: string;
};

/** `check` checks it. */
type SiteOptions = ScopeOptions & {
  /** `undefined`: this host's own addresses. */
  readonly addresses: readonly SiteRange[] | undefined;
  readonly reservedPorts: ReadonlySet<number>;
  /** `undefined`: no metrics server. */
  readonly metricsAddress: { readonly host: string; readonly port: number } | undefined;
};

/** The flags of `run`. */
export type RunOptions = SiteOptions & TrafficOptions;

/** `format`: `undefined` where the command decides. */
export type LogOptions = {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly format: 'text' | 'json' | undefined;
};

type OutputOptions = { readonly output: 'text' | 'json' };
type ClientOptions = { readonly stateDir: string };

/** The flags of each command. */
export type OptionsOf = {
  readonly run: RunOptions & LogOptions;
  readonly check: RunOptions & OutputOptions & LogOptions;
  readonly cleanup: ScopeOptions & { readonly isCluster: boolean } & LogOptions;
  readonly status: ClientOptions & OutputOptions & { readonly isWatched: boolean };
  readonly connections: ClientOptions & OutputOptions & { readonly last: number };
  readonly drain: ClientOptions;
  readonly undrain: ClientOptions;
};

const stateDirFlag = {
  schema: stateFolder,
  syntax: '--state-dir <folder>',
  group: 'Host',
  byDefault: '/var/lib/furiwake',
  expected: 'an absolute path of at most 80 letters, digits and / _ . -',
};

/** Which cluster, and which of its Services; `cleanup` needs it, too. */
const scopeFlags: Flags<ScopeOptions> = {
  kubeconfig: {
    schema: someText.optional(),
    syntax: '--kubeconfig <file>',
    group: 'Cluster',
    help: 'path to a kubeconfig (default: $KUBECONFIG, in-cluster, ~/.kube/config)',
    expected: 'the path of a file',
  },
  context: {
    schema: someText.optional(),
    syntax: '--context <name>',
    group: 'Cluster',
    help: 'context of the kubeconfig (default: its current context)',
    expected: 'the name of a context',
  },
  leaseNamespace: {
    schema: namespaceName,
    syntax: '--lease-namespace <name>',
    group: 'Cluster',
    help: 'namespace of the Lease',
    byDefault: 'furiwake-system',
    expected: 'the name of a namespace (RFC 1123 label)',
  },
  loadBalancerClass: {
    schema: className,
    syntax: '--load-balancer-class <name>',
    group: 'Services',
    help: 'serve Services with this spec.loadBalancerClass',
    byDefault: defaultLoadBalancerClass,
    expected: 'a label-style name, e.g. furiwake.dev/haproxy',
  },
  takesDefaultClass: {
    schema: yesNo,
    syntax: '--default-class <yes|no>',
    group: 'Services',
    help: 'also serve Services without a class',
    byDefault: 'yes',
    expected: 'yes or no',
  },
  namespaces: {
    schema: namespaceSet.optional(),
    syntax: '--namespaces <list>',
    group: 'Services',
    help: 'serve only Services of these namespaces (default: all)',
    expected: 'names of namespaces (RFC 1123 labels) with commas between, e.g. shop,web',
  },
  stateDir: { ...stateDirFlag, help: 'directory for persistent state' },
};

/** `check` checks it, too. */
const siteFlags: Flags<SiteOptions> = {
  ...scopeFlags,
  addresses: {
    schema: addressRanges.optional(),
    syntax: '--addresses <list>',
    group: 'Addresses',
    help: "address pool: addresses, CIDRs, first-last ranges, both families (default: this host's own address, one per family)",
    expected: 'addresses',
  },
  reservedPorts: {
    schema: portSet,
    syntax: '--reserved-ports <list>',
    group: 'Addresses',
    help: "ports of this host's own addresses that no Service gets",
    byDefault: '22',
    expected: 'ports from 1 to 65535 with commas between, e.g. 22,9100',
  },
  metricsAddress: {
    schema: listenAddress,
    syntax: '--metrics-address <host:port>',
    group: 'Host',
    help: 'where /metrics, /healthz and /readyz answer; :9470 for all addresses, none to turn them off',
    byDefault: '127.0.0.1:9470',
    expected: 'host:port, e.g. 127.0.0.1:9470, [::]:9470 or none',
  },
};

const runFlags: Flags<RunOptions> = { ...siteFlags, ...trafficFlags };

const logFlags: Flags<LogOptions> = {
  level: {
    schema: z.enum(['debug', 'info', 'warn', 'error']),
    syntax: '--log-level <level>',
    group: 'Log',
    help: 'minimum log level',
    byDefault: 'info',
    expected: 'debug, info, warn or error',
  },
  format: {
    schema: z.enum(['text', 'json']).optional(),
    syntax: '--log-format <format>',
    group: 'Log',
    help: 'text or json (default: text on a terminal and in the journal, else json for run and text for other commands)',
    expected: 'text or json',
  },
};

const outputFlags: Flags<OutputOptions> = {
  output: {
    schema: z.enum(['text', 'json']),
    syntax: '-o, --output <format>',
    group: 'Output',
    help: 'text or json',
    byDefault: 'text',
    expected: 'text or json',
    isOneTime: true,
  },
};

const clusterFlag: Flag<boolean> = {
  schema: z.boolean().default(false),
  syntax: '--cluster',
  group: 'Cluster',
  help: 'also remove finalizers, addresses and conditions from the Services',
  expected: 'no value',
  isOneTime: true,
};

const watchFlag: Flag<boolean> = {
  schema: z.boolean().default(false),
  syntax: '-w, --watch',
  group: 'Output',
  help: 'redraw every 2 s; to a pipe or file, append a block after each change',
  expected: 'no value',
  isOneTime: true,
};

const lastFlag: Flag<number> = {
  schema: z.string().transform(Number).pipe(z.int().min(1).max(mostListed)),
  syntax: '-n, --last <count>',
  group: 'Output',
  help: 'how many connections',
  byDefault: '50',
  expected: `a number from 1 to ${mostListed}`,
  isOneTime: true,
};

const clientFlags: Flags<ClientOptions> = {
  stateDir: { ...stateDirFlag, help: 'state directory of the running furiwake' },
};

function hidden<T>(flags: Flags<T>): Flags<T> {
  const entries = Object.entries<Flag<unknown>>(flags).map(([name, flag]) => [name, { ...flag, isHidden: true }]);
  return Object.fromEntries(entries) as Flags<T>;
}

/** The flags of each command. `check` takes those of `run`. */
export const flagsOf: { readonly [C in keyof OptionsOf]: Flags<OptionsOf[C]> } = {
  run: { ...runFlags, ...logFlags },
  check: { ...siteFlags, ...hidden(trafficFlags), ...outputFlags, ...logFlags },
  cleanup: { ...scopeFlags, isCluster: clusterFlag, ...logFlags },
  status: { ...clientFlags, ...outputFlags, isWatched: watchFlag },
  connections: { ...clientFlags, ...outputFlags, last: lastFlag },
  drain: clientFlags,
  undrain: clientFlags,
};

/** The site as the flags describe it. */
export function siteOf(options: RunOptions): Site {
  return {
    ...options,
    ranges: options.addresses ?? [],
    handsOutOwn: options.addresses === undefined,
    movesServices: false,
  };
}

/** The flags of `run` from what was typed, by commander's names; the others have their defaults. */
export function decodeOptions(typed: Readonly<Record<string, unknown>>): RunOptions {
  return decodeFlags(runFlags, typed);
}

import { quote } from '../core/addresses/request.ts';
import { parseDecimal } from '../core/ip/ip.ts';
import { type IpRange, mergeRanges, parseRange } from '../core/ip/range.ts';
import { UsageError } from '../daemon/errors.ts';

/** What the flags of `run` say, decoded. */
export type RunOptions = {
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  /** `undefined`: this host's own addresses. */
  readonly addresses: readonly IpRange[] | undefined;
  readonly loadBalancerClass: string;
  readonly takesDefaultClass: boolean;
  readonly namespaces: ReadonlySet<string> | undefined;
  readonly leaseNamespace: string;
  readonly reservedPorts: ReadonlySet<number>;
  readonly stateDir: string;
  readonly idleTimeoutSeconds: number;
  /** How long a node may be silent before its connections are ended. */
  readonly nodeSilenceSeconds: number;
  readonly onLeaseLoss: 'withdraw' | 'keep';
  /** `undefined`: no metrics server. */
  readonly metricsAddress: { readonly host: string; readonly port: number } | undefined;
  readonly stopsTrafficOnExit: boolean;
};

/** The flags as commander hands them over: texts and booleans. */
export type RawOptions = {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly addresses?: string;
  readonly loadBalancerClass: string;
  readonly defaultClass: string;
  readonly namespaces?: string;
  readonly leaseNamespace: string;
  readonly reservedPorts: string;
  readonly stateDir: string;
  readonly idleTimeout: string;
  readonly nodeSilenceTimeout: string;
  readonly onLeaseLoss: 'withdraw' | 'keep';
  readonly metricsAddress: string;
  readonly stopTrafficOnExit: string;
};

/** Throws {@link UsageError} on the first flag that cannot be read. */
export function decodeOptions(raw: RawOptions): RunOptions {
  return {
    kubeconfig: raw.kubeconfig,
    context: decodeContext(raw.context),
    addresses: raw.addresses === undefined ? undefined : decodeAddresses(raw.addresses),
    loadBalancerClass: decodeClass(raw.loadBalancerClass),
    takesDefaultClass: decodeBoolean('--default-class', raw.defaultClass),
    namespaces:
      raw.namespaces === undefined
        ? undefined
        : new Set(decodeList('--namespaces', raw.namespaces).map((name) => decodeName('--namespaces', name))),
    leaseNamespace: decodeName('--lease-namespace', raw.leaseNamespace),
    reservedPorts: decodePorts(raw.reservedPorts),
    stateDir: decodeStateDir(raw.stateDir),
    idleTimeoutSeconds: decodeSeconds('--idle-timeout', raw.idleTimeout, 1),
    nodeSilenceSeconds: decodeSeconds('--node-silence-timeout', raw.nodeSilenceTimeout, 3),
    onLeaseLoss: raw.onLeaseLoss,
    metricsAddress: decodeMetricsAddress(raw.metricsAddress),
    stopsTrafficOnExit: decodeBoolean('--stop-traffic-on-exit', raw.stopTrafficOnExit),
  };
}

function decodeContext(text: string | undefined): string | undefined {
  if (text === '')
    throw new UsageError("--context: the name is empty; leave the flag out to take the kubeconfig's current context");
  return text;
}

function decodeAddresses(text: string): readonly IpRange[] {
  const ranges = decodeList('--addresses', text).map((part) => {
    const range = parseRange(part);
    if (range === undefined) {
      throw new UsageError(
        `--addresses: ${quote(part)} is no address, CIDR or range; write for example 192.0.2.10-192.0.2.20,203.0.113.0/24,2001:db8::/120`,
      );
    }
    return range;
  });
  return mergeRanges(ranges);
}

function decodeList(flag: string, text: string): readonly string[] {
  const parts = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (parts.length === 0)
    throw new UsageError(`${flag}: the list is empty; leave the flag out or name at least one entry`);
  return parts;
}

function decodePorts(text: string): ReadonlySet<number> {
  if (text.trim() === '') return new Set();
  return new Set(
    decodeList('--reserved-ports', text).map((part) => {
      const port = parseDecimal(part, 5);
      if (port === undefined || port < 1 || port > 65_535)
        throw new UsageError(
          `--reserved-ports: ${quote(part)} is no port; write numbers from 1 to 65535, for example 22,9100`,
        );
      return port;
    }),
  );
}

const labelName = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
export const className: RegExp = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

function decodeName(flag: string, name: string): string {
  if (name.length > 63 || !labelName.test(name))
    throw new UsageError(`${flag}: ${quote(name)} is no name of a namespace (RFC 1123 label)`);
  return name;
}

function decodeClass(text: string): string {
  if (!className.test(text))
    throw new UsageError(
      `--load-balancer-class: ${quote(text)} is no label-style name; write for example furiwake.dev/haproxy`,
    );
  return text;
}

function decodeBoolean(flag: string, text: string): boolean {
  if (['true', 'yes', '1'].includes(text)) return true;
  if (['false', 'no', '0'].includes(text)) return false;
  throw new UsageError(`${flag}: ${quote(text)} is neither yes nor no`);
}

/** Sockets live in it, and a unix socket's path holds 107 bytes. */
const maxStateDirLength = 80;

function decodeStateDir(text: string): string {
  if (!text.startsWith('/')) throw new UsageError(`--state-dir: ${quote(text)} is no absolute path`);
  if (Buffer.byteLength(text) > maxStateDirLength)
    throw new UsageError(
      `--state-dir: the path is longer than ${maxStateDirLength} bytes, too long for the sockets in it; choose a shorter one`,
    );
  if (!/^[A-Za-z0-9/_.-]+$/.test(text))
    throw new UsageError(`--state-dir: ${quote(text)} holds characters other than letters, digits and / _ . -`);
  return text.replace(/\/+$/, '');
}

function decodeSeconds(flag: string, text: string, least: number): number {
  const seconds = parseDecimal(text, 7);
  if (seconds === undefined || seconds < least || seconds > 2_000_000)
    throw new UsageError(
      `${flag}: invalid value ${quote(text)}: expected seconds from ${least} to 2000000, for example 3600`,
    );
  return seconds;
}

function decodeMetricsAddress(text: string): RunOptions['metricsAddress'] {
  if (text === '' || text === 'none') return undefined;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    throw new UsageError(
      `--metrics-address: ${quote(text)} is no host:port; write for example 127.0.0.1:9470, [::]:9470 or none`,
    );
  return { host: match[1] ?? (match[2] === '' || match[2] === undefined ? '::' : match[2]), port };
}

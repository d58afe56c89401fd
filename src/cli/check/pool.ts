import { messageOf } from '../../async/error-words.ts';
import { makeDuplicateProbe } from '../../advertise/duplicates.ts';
import { exclusionsOf, makePools, type Pool } from '../../core/addresses/pool.ts';
import { ipOf, parseIp } from '../../core/ip/ip.ts';
import {
  countAddresses,
  countLeft,
  type FamilyCount,
  formatRange,
  type IpRange,
  leftWords,
  rangeContains,
  rangeOf,
} from '../../core/ip/range.ts';
import { fieldManager } from '../../core/model/contract.ts';
import type { Service } from '../../core/model/service.ts';
import { makeApiServerAddresses } from '../../daemon/api-server-addresses.ts';
import { assertNoOverlap, clusterRanges, noServiceCidrWords } from '../../daemon/cluster-ranges.ts';
import { StartError } from '../../daemon/errors.ts';
import type { Platform } from '../../daemon/platform.ts';
import type { Network } from '../../host/network.ts';
import { type RunOptions, siteOf } from '../options.ts';
import type { CheckedCluster } from './cluster.ts';
import type { ApiConnection } from './connection.ts';
import { about, counted, type Finding, named, ok, problem, warning } from './finding.ts';
import type { CheckedHost, CheckedNetwork } from './host.ts';
import type { Inspect } from './inspect.ts';

export type PoolSources = CheckedCluster & {
  readonly host: CheckedHost;
  readonly connection: Pick<ApiConnection, 'server' | 'client'> | undefined;
};

const group = 'Address pool';

/** How many addresses Services can have, which are excluded and why, and whether others use them. */
export async function checkPool(
  options: RunOptions,
  { host, connection, nodes, services }: PoolSources,
  { exec, clock }: Platform,
  inspect: Inspect,
  signal: AbortSignal,
): Promise<void> {
  const { network } = host;
  let pool: Pool | undefined;
  const count = async ({ addresses }: CheckedNetwork): Promise<readonly Finding[]> => {
    const server = connection && (await makeApiServerAddresses({ server: connection.server, clock })(signal));
    const { own, primary, needs } = addresses();
    const site = siteOf(options);
    pool = makePools()({
      site,
      nodes: new Map(known(nodes)?.map((node) => [node.name, node])),
      host: {
        ownAddresses: [...own.values()],
        primaryAddresses: primary,
        listening: [],
        listeningTrouble: undefined,
        needs: new Map([...needs, ...(server ?? [])]),
      },
    });
    return poolFindings(pool, site.handsOutOwn ? primary.map(rangeOf) : site.ranges, known(services), site.handsOutOwn);
  };
  await inspect(group, 'addresses', typeof network === 'string' ? network : () => count(network));
  const lacksCluster = typeof nodes === 'string' ? nodes : undefined;
  await inspect(
    group,
    'cluster CIDRs',
    lacksCluster ??
      (connection === undefined ? 'needs the kubeconfig' : () => checkOverlap(options, connection, signal)),
  );
  if (options.addresses === undefined) return; // no other machine has the host's own addresses
  const look = (): Parameters<Inspect>[2] => {
    if (typeof network === 'string') return network;
    if (pool === undefined) return 'needs the addresses';
    const { ranges } = pool;
    return host.lacks('perl') ?? (() => checkDuplicates(ranges, network, { exec, clock }, signal));
  };
  await inspect(group, 'other machines', look());
}

function known<T>(read: readonly T[] | string): readonly T[] | undefined {
  return typeof read === 'string' ? undefined : read;
}

/**
 * `wanted`: the pool with the excluded addresses. `services`: `undefined` where they are not known. `isOwn`: the pool
 * is this host's own addresses.
 */
export function poolFindings(
  { ranges, excluded }: Pool,
  wanted: readonly IpRange[],
  services: readonly Service[] | undefined,
  isOwn: boolean,
): readonly Finding[] {
  const size = countAddresses(ranges);
  const given = services && new Set(services.flatMap(addressesOf).filter((text) => isIn(ranges, text)));
  const left =
    given &&
    countLeft(
      ranges,
      Array.from(given).flatMap((text) => parseIp(text) ?? []),
    );
  const counts =
    given === undefined || left === undefined ? ['assigned: not known'] : [`${given.size} assigned`, leftWords(left)];
  if (isOwn && size === 0n && excluded.size === 0)
    return [problem('none: this host has no address on the interface of its default route', 'set --addresses')];
  const found = [
    wanted.map(formatRange).join(', ') || 'none',
    `${counted(countAddresses(wanted), 'address', 'addresses')} in all`,
    ...(excluded.size > 0 ? [`${excluded.size} excluded`] : []),
    ...(isOwn ? ["this host's own, which Services share by port"] : counts),
  ].join('; ');
  const findings: Finding[] = [countFinding(found, { size, left, isOwn })];
  const shown = exclusionsOf({ excluded }).map(({ address, reason }) => `${address} (${reason})`);
  if (shown.length > 0) findings.push(about('excluded', ok(shown.join(', '))));
  const outside = (isOwn ? [] : (services ?? [])).flatMap((service) =>
    service.status.ingressManager === fieldManager
      ? addressesOf(service).flatMap((text) => (isIn(ranges, text) ? [] : [`${service.key} (${text})`]))
      : [],
  );
  if (outside.length > 0)
    findings.push(
      about(
        'outside the pool',
        warning(
          named(outside),
          'add these addresses to --addresses: a furiwake without a record of them in its state directory does not serve them',
        ),
      ),
    );
  return findings;
}

function countFinding(
  found: string,
  {
    size,
    left,
    isOwn,
  }: { readonly size: bigint; readonly left: readonly FamilyCount[] | undefined; readonly isOwn: boolean },
): Finding {
  if (size === 0n) return problem(found, 'set --addresses to addresses that Services can have');
  const families = left ?? [];
  const exhausted = families.filter(({ count }) => count === 0n).map(({ family }) => `IPv${family} `);
  if (isOwn || exhausted.length === 0) return ok(found);
  return warning(
    found,
    `add ${exhausted.length < families.length ? exhausted.join('') : ''}addresses to --addresses: new Services can only share the present ones, where their ports and namespaces permit it`,
  );
}

function addressesOf({ spec, status }: Service): readonly string[] {
  if (spec.type !== 'LoadBalancer') return [];
  return status.ingress.flatMap(({ ip }) => (ip === undefined ? [] : (parseIp(ip)?.text ?? [])));
}

function isIn(ranges: Pool['ranges'], text: string): boolean {
  const ip = parseIp(text);
  return ip !== undefined && ranges.some((range) => rangeContains(range, ip));
}

async function checkOverlap(
  options: RunOptions,
  { client }: Pick<ApiConnection, 'client'>,
  signal: AbortSignal,
): Promise<Finding> {
  const { used, serviceCidrs } = await clusterRanges(client, signal);
  try {
    assertNoOverlap(options.addresses ?? [], used);
  } catch (error) {
    if (error instanceof StartError) return problem(messageOf(error), 'choose other --addresses');
    throw error;
  }
  if (serviceCidrs.length === 0) return warning(noServiceCidrWords, 'make sure that --addresses lie outside of it');
  return ok('no overlap with the Service and Pod CIDRs');
}

/** Of a larger pool the first ones are asked for: those that Services get first. */
const mostProbed = 1024n;

/** Whether another machine on a LAN of this host has an address of the pool. */
export async function checkDuplicates(
  ranges: readonly IpRange[],
  network: Pick<Network, 'addresses' | 'links'>,
  { exec, clock }: Pick<Platform, 'exec' | 'clock'>,
  signal: AbortSignal,
): Promise<Finding> {
  const { links } = network;
  const { own, needs } = network.addresses();
  const foreign = [...firstOf(ranges)].filter(({ text }) => !own.has(text) && !needs.has(text));
  const probed = foreign.filter((address) => links.linkOf(address) !== undefined);
  if (foreign.length === 0) return ok('not asked: all addresses are on this host');
  if (probed.length === 0)
    return ok('not asked: the pool is in no network of this host, so a router must route it to this host');
  const found = await makeDuplicateProbe({ exec, clock, links })(probed, signal);
  if (found.size === 0) return ok(`none on the LAN has one of ${counted(probed.length, 'address', 'addresses')}`);
  return warning(
    `addresses in use on the LAN: ${named(Array.from(found, ([text, mac]) => `${text} (${mac})`))}`,
    'fine if another furiwake serves them; else remove them there, or take them out of the pool',
  );
}

function* firstOf(ranges: readonly IpRange[]): Generator<ReturnType<typeof ipOf>> {
  let left = mostProbed;
  for (const { family, first, last } of ranges)
    for (let value = first; value <= last && left > 0n; value++, left--) yield ipOf(family, value);
}

import { isDeepStrictEqual } from 'node:util';
import type { Family, Ip } from '../../../core/ip/ip.ts';
import type { ListenerKey, NodeName } from '../../../core/model/names.ts';
import { PersistentMap } from '../../../core/persistent-map.ts';
import type { DirectObstacle, DirectObstacles, UnequalMtu } from '../../../core/traffic/report.ts';
import { emptyTable, type Listener, type TrafficTable } from '../../../core/traffic/table.ts';
import type { Clock } from '../../../ports/clock.ts';
import { formatRange, type IpRange } from '../../../core/ip/range.ts';
import type { Exec } from '../../../ports/exec.ts';
import type { Gate } from '../../../ports/gate.ts';
import type { Health } from '../../../ports/health.ts';
import type { Link } from '../../../ports/network.ts';
import type { Layout } from '../../nftables/mirror.ts';
import type { ProbedPath } from '../probes/answer-probe.ts';
import type { AnsweringNodes } from '../probes/answering-nodes.ts';
import { makeImpossibleSources } from './impossible-sources.ts';
import { makeKnownMacs } from './node-macs.ts';
import { findObstacles } from '../probes/obstacles.ts';
import { probedPaths } from '../probes/probed-paths.ts';
import { hopKey } from './hops.ts';
import { directLayout } from './layout.ts';
import { type DirectProgram, makeDirectPlanner, type ProgramInput } from './program.ts';
import { makePublications } from './publications.ts';
import { makeVipLinks } from './vip-links.ts';

/** A program, and the devices where packets of clients arrive. */
export type DeviceProgram = DirectProgram & { readonly devices: readonly string[] };

export const deviceLayout: Layout<DeviceProgram> = {
  ...directLayout,
  empty: { ...directLayout.empty, devices: [] },
  withRestOf: (target, other) => ({ ...target, ...directLayout.withRestOf(target, other) }),
};

/** The parts of the host that a program depends on. */
export type ProgramSourceDeps = {
  readonly exec: Exec;
  readonly health: Health;
  readonly gate: Gate;
  /** The nodes that were shown to answer clients themselves. */
  readonly answering: AnsweringNodes;
  /** The link on which an address is; `undefined`: behind a router. */
  readonly linkOf: (address: Ip) => Link | undefined;
  /** The addresses of this host itself, by text. */
  readonly own: () => ReadonlyMap<string, Ip>;
  /** Own addresses on the interfaces of the default routes: packets of clients arrive there. */
  readonly primary: () => readonly Ip[];
  /** The ranges of clusterIPs, as far as they are known; the same object while they are the same. */
  readonly serviceCidrs: () => readonly IpRange[];
  readonly clock: Clock;
};

/** What may have changed: what `table` says, also what the gate has opened, or links, MAC addresses and nodes that answer as well. */
export type ProgramNews = 'table' | 'openings' | 'all';

type ProgramOptions = {
  readonly isLost: (node: NodeName, family: Family) => boolean;
  readonly news: ProgramNews;
};

/** Plans programs: asks the gate and the probe of nodes, which learn here of listeners and nodes. */
export type ProgramSource = {
  /** The gate and the probe get the listeners and nodes. */
  follow(table: TrafficTable): void;
  /** The program of the table that they have, as far as they have shown what it needs. Throws `ExecError` if `ip` fails. */
  next(table: TrafficTable, more: ProgramOptions, signal: AbortSignal): Promise<DeviceProgram>;
  /** Whether the kernel knows nodes under other MAC addresses than before. Throws `ExecError` if `ip` fails. */
  haveMacsChanged(nodes: TrafficTable['nodes'], signal: AbortSignal): Promise<boolean>;
  /** Whether the node may take packets soon: it is not silent, and neither an obstacle nor a probe in vain keeps packets from it. */
  mayOpen(nodes: TrafficTable['nodes']): (node: NodeName, family: Family) => boolean;
  /** Which of the nodes could not be next hops at the last program, and why. */
  obstacles(nodes: TrafficTable['nodes']): DirectObstacles;
  /**
   * The links of the host on which it, or a node, has an address, and the Service CIDRs: another text after one was renamed, made
   * again, or became known.
   */
  factsText(nodes: TrafficTable['nodes']): string;
  /** The families in which a node is on a link of the host. */
  onLink(nodes: TrafficTable['nodes']): ReadonlySet<Family>;
};

export function makeProgramSource(deps: ProgramSourceDeps): ProgramSource {
  const { exec, health, gate, answering, own, primary, serviceCidrs, clock } = deps;
  const plan = makeDirectPlanner();
  const publicationsOf = makePublications(() => clock.monotonic());
  const linkOf = (address: Ip): string | undefined => deps.linkOf(address)?.name;
  const isOwn = ({ text }: Ip): boolean => own().has(text);
  const hasGateOpen = ({ key }: Listener, node: NodeName): boolean => gate.isOpen(key, node);
  /** Counts the plans. */
  let turn = 0;
  const awaited = makeAwaitedHops();
  let planned = emptyTable.listeners;
  let paths: ReadonlyMap<string, ProbedPath> = new Map();
  /** For the planner: another object says what may differ. */
  let openings = {};
  let isOpen: ProgramInput['isOpen'] = () => false;
  /** Since the last look. */
  let hasClosed = true;
  gate.subscribe((change) => (hasClosed ||= change !== 'opened'));
  /** Nodes that were shown to answer, and are not narrow. */
  let answeringHops: ReadonlySet<string> = new Set();
  /** Nodes on links whose MTU is less than that of another device on which packets of clients arrive. */
  let narrow: ReadonlyMap<string, UnequalMtu> = new Map();
  let nodesOfLast: TrafficTable['nodes'] | undefined;
  const arrivals = makeArrivals(primary);
  const measured = (hop: string): DirectObstacle | undefined => narrow.get(hop) ?? answering.obstacles().get(hop);
  const lookAgain = (nodes: TrafficTable['nodes']): void => {
    awaited.clear();
    openings = {};
    const hops = [...nodes.values()].flatMap(({ name, addresses }) =>
      addresses.map(({ family }) => hopKey(name, family)),
    );
    const before = answeringHops;
    answeringHops = new Set(hops.filter((hop) => answering.has(hop) && !narrow.has(hop)));
    if (!hasClosed && [...before].every((hop) => answeringHops.has(hop))) return;
    hasClosed = false;
    isOpen = (listener, node) => {
      if (!hasGateOpen(listener, node)) return false;
      const hop = hopKey(node, listener.address.family);
      if (!listener.needsProof || answeringHops.has(hop)) return true;
      awaited.add(listener.key, hop);
      return false;
    };
  };
  const macsOf = makeKnownMacs(exec);
  const linksOf = makeVipLinks(linkOf);
  const impossibleOf = makeImpossibleSources();

  const obstaclesAmong = (nodes: TrafficTable['nodes'], unheard: ReadonlySet<string>): DirectObstacles =>
    findObstacles(nodes, {
      isOwn,
      linkOf,
      isAnswering: (node) => gate.isAnswering(node),
      measured: (node, family) => measured(hopKey(node, family)),
      isUnheard: (node, family) => unheard.has(hopKey(node, family)),
    });

  return {
    follow: (table) => {
      const { nodes } = table;
      gate.setListeners(publicationsOf(table));
      if (nodes.size > 0)
        answering.keep(
          new Map(
            [...nodes.values()].flatMap(({ name, addresses }) =>
              addresses.map(({ family, text }) => [hopKey(name, family), text]),
            ),
          ),
        );
      const verdicts = health.verdicts();
      gate.setNodes(
        new Map(
          Array.from(nodes.values(), ({ name, bootId, addresses }) => {
            const isUp = ({ family }: Ip): boolean => verdicts.get(name)?.[family] !== 'silent';
            return [name, { bootId, addresses: addresses.map((address) => ({ address, isUp: isUp(address) })) }];
          }),
        ),
      );
    },
    next: async (table, { isLost, news }, signal) => {
      const isRefresh = news === 'all';
      const areNodesNew = nodesOfLast !== table.nodes;
      nodesOfLast = table.nodes;
      if (isRefresh || areNodesNew) narrow = narrowHops(table.nodes, deps.linkOf, primary());
      if (news !== 'table' || areNodesNew) lookAgain(table.nodes);
      for (const key of PersistentMap.changedKeys(planned, table.listeners)) awaited.delete(key);
      const addresses = addressesOf(table.nodes);
      const macs = await macsOf(addresses, isRefresh, signal);
      const silent = answering.silent();
      const found = probedPaths({
        table,
        before: { listeners: planned, paths },
        linkOf: deps.linkOf,
        own: own().values(),
        macs,
        isOpen: hasGateOpen,
        isMissing: (hop) => !answering.has(hop),
        isUnheard: (hop) => silent.has(hop),
        isRefresh: isRefresh || areNodesNew,
        hasOpened: news !== 'table',
        turn: turn++,
      });
      planned = table.listeners;
      paths = found ?? paths;
      if (found !== undefined) answering.setPaths(found);
      const links = [...addresses, ...arrivals()].flatMap((address) => linkOf(address) ?? []);
      const devices = [...new Set([...links, ...linksOf(table.listeners, isRefresh)])].sort();
      const verdicts = health.verdicts();
      const [nodeMacs, impossible] = [
        new Set(macs.values()),
        impossibleOf({
          nodes: table.nodes,
          excludedNodes: table.excludedNodes,
          own: own(),
          serviceCidrs: serviceCidrs(),
        }),
      ];
      return { ...plan({ table, verdicts, linkOf, isOwn, isLost, nodeMacs, impossible, isOpen, openings }), devices };
    },
    haveMacsChanged: async (nodes, signal) => {
      const before = await macsOf(addressesOf(nodes), false, signal);
      return !isDeepStrictEqual(await macsOf(addressesOf(nodes), true, signal), before);
    },
    mayOpen: (nodes) => {
      const found = obstaclesAmong(nodes, answering.silent());
      const verdicts = health.verdicts();
      return (node, family) => found.get(node)?.[family] === undefined && verdicts.get(node)?.[family] !== 'silent';
    },
    obstacles: (nodes) => obstaclesAmong(nodes, new Set([...answering.silent(), ...awaited.hops()])),
    factsText: (nodes) => {
      const links = [...addressesOf(nodes), ...own().values()].flatMap((address) => deps.linkOf(address) ?? []);
      const texts = links.map(({ name, index, mac }) => `${name} ${index} ${mac}`);
      return [...new Set(texts)].sort().concat(serviceCidrs().map(formatRange)).join(', ');
    },
    onLink: (nodes) =>
      new Set(
        addressesOf(nodes)
          .filter((address) => linkOf(address) !== undefined && !isOwn(address))
          .map(({ family }) => family),
      ),
  };
}

/** `primary`; without a default route of a family that of before, because packets come again before the route does. */
function makeArrivals(primary: () => readonly Ip[]): () => readonly Ip[] {
  let last: readonly Ip[] = [];
  return () => {
    const now = primary();
    last = [...now, ...last.filter(({ family }) => now.every((address) => address.family !== family))];
    return last;
  };
}

/** The nodes that listeners wait for only because they are not shown to answer. */
function makeAwaitedHops(): {
  add(listener: ListenerKey, hop: string): void;
  delete(listener: ListenerKey): void;
  clear(): void;
  hops(): Iterable<string>;
} {
  const byListener = new Map<ListenerKey, Set<string>>();
  /** The number of listeners that wait for each. */
  const waiting = new Map<string, number>();
  return {
    add: (listener, hop) => {
      const hops = byListener.get(listener) ?? new Set();
      byListener.set(listener, hops);
      if (hops.has(hop)) return;
      hops.add(hop);
      waiting.set(hop, (waiting.get(hop) ?? 0) + 1);
    },
    delete: (listener) => {
      for (const hop of byListener.get(listener) ?? []) {
        const left = (waiting.get(hop) ?? 1) - 1;
        if (left === 0) waiting.delete(hop);
        else waiting.set(hop, left);
      }
      byListener.delete(listener);
    },
    clear: () => {
      byListener.clear();
      waiting.clear();
    },
    hops: () => waiting.keys(),
  };
}

function addressesOf(nodes: TrafficTable['nodes']): readonly Ip[] {
  return [...nodes.values()].flatMap(({ addresses }) => addresses);
}

/** The host may have LANs with different MTUs. Packets of clients arrive on each of them. */
function narrowHops(
  nodes: TrafficTable['nodes'],
  linkOf: (address: Ip) => Link | undefined,
  primary: readonly Ip[],
): ReadonlyMap<string, UnequalMtu> {
  const hops = [...nodes.values()].flatMap(({ name, addresses }) =>
    addresses.flatMap((address) => {
      const link = linkOf(address);
      return link === undefined ? [] : [{ hop: hopKey(name, address.family), mtu: link.mtu }];
    }),
  );
  const lan = Math.max(...hops.map(({ mtu }) => mtu), ...primary.flatMap((address) => linkOf(address)?.mtu ?? []));
  return new Map(hops.flatMap(({ hop, mtu }) => (mtu < lan ? [[hop, { least: mtu, most: mtu, lan }] as const] : [])));
}

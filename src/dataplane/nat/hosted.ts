import { families, type Family, type Ip } from '../../core/ip/ip.ts';
import type { BackendId, ListenerKey, NodeName } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { isHostBackend } from '../../core/traffic/host-pods.ts';
import type { HostReport } from '../../core/traffic/report.ts';
import { hashOf } from '../../core/traffic/slots.ts';
import {
  emptyTable,
  type Listener,
  type PodBackend,
  type PodServer,
  type TrafficTable,
} from '../../core/traffic/table.ts';

/** The Pods that take the connections of the host itself to a listener, in the order of their numbers. */
export type HostedPods = PersistentMap<ListenerKey, readonly Ip[]>;

/** The addresses of the Pods that may keep flows other than those of TCP. */
export type HostedMembers = PersistentMap<BackendId, readonly Ip[]>;

type HostedInput = {
  readonly table: Pick<TrafficTable, 'listeners' | 'nodes' | 'pods'>;
  readonly verdicts: HostReport['health'];
  /** The node keeps what it has. */
  readonly keeps: (node: NodeName, family: Family) => boolean;
  /** It has been silent for so long that it loses its flows. */
  readonly loses: (node: NodeName, family: Family) => boolean;
};

type Hosted = { readonly pods: HostedPods; readonly members: HostedMembers };

/** Finds both from the difference to the call before; all are found again only after a change of nodes or verdicts. */
export function makeHosted(): (input: HostedInput) => Hosted {
  const users = new Map<BackendId, Set<ListenerKey>>();
  let known: Hosted = { pods: PersistentMap.empty(), members: PersistentMap.empty() };
  let last: Pick<HostedInput, 'table' | 'verdicts'> = { table: emptyTable, verdicts: new Map() };
  let lastLost = '';

  const follow = (key: ListenerKey, old: Listener | undefined, now: Listener | undefined): void => {
    if (old !== undefined) users.get(old.backend)?.delete(key);
    if (old !== undefined && users.get(old.backend)?.size === 0) users.delete(old.backend);
    if (now !== undefined && isHostBackend(now.backend))
      users.set(now.backend, (users.get(now.backend) ?? new Set()).add(key));
  };

  return ({ table, verdicts, keeps, loses }) => {
    const { listeners, nodes, pods } = table;
    const changed = PersistentMap.changedKeys(last.table.listeners, listeners);
    for (const key of changed) follow(key, last.table.listeners.get(key), listeners.get(key));
    const names = users.size === 0 ? [] : [...nodes.keys()];
    const lostText = JSON.stringify(families.map((family) => names.filter((name) => loses(name, family))));
    const areNodesSame = last.table.nodes === nodes && last.verdicts === verdicts && lastLost === lostText;
    const backends = areNodesSame ? PersistentMap.changedKeys(last.table.pods, pods) : [...users.keys()];
    const concerned = new Set([...changed, ...backends.flatMap((id) => [...(users.get(id) ?? [])])]);
    const gone = changed.flatMap((key) => last.table.listeners.get(key)?.backend ?? []);
    last = { table, verdicts };
    lastLost = lostText;
    if (concerned.size === 0) return known;

    const isUsed = ({ node }: PodServer, family: Family): boolean =>
      node === undefined || (nodes.get(node)?.state !== 'drain' && keeps(node, family));
    const members = new Map<BackendId, readonly Ip[] | undefined>(gone.map((id) => [id, undefined]));
    const chosen = Array.from(concerned, (key): [ListenerKey, readonly Ip[] | undefined] => {
      const listener = listeners.get(key);
      if (listener === undefined || !isHostBackend(listener.backend)) return [key, undefined];
      const { backend, address, isAffine } = listener;
      const { family } = address;
      const all = pods.get(backend)?.pods ?? [];
      const keeping = all.filter(({ node }) => node === undefined || !loses(node, family));
      members.set(backend, same(known.members.get(backend), addressesOf(keeping)));
      const ready = all.filter(({ isDraining }) => !isDraining);
      const used = ready.filter((pod) => isUsed(pod, family));
      const takers = addressesOf(used.length > 0 ? used : ready);
      // The host is one client.
      const ranked = isAffine ? takers.toSorted((a, b) => hashOf(a.text) - hashOf(b.text)).slice(0, 1) : takers;
      return [key, same(known.pods.get(key), ranked)];
    });
    for (const id of gone) {
      const [user] = users.get(id) ?? [];
      if (user !== undefined && members.get(id) === undefined) members.delete(id); // another listener has it
    }
    known = { pods: known.pods.with(chosen), members: known.members.with(members) };
    return known;
  };
}

function addressesOf(pods: PodBackend['pods']): readonly Ip[] {
  return pods.map(({ address }) => address);
}

function same(before: readonly Ip[] | undefined, now: readonly Ip[]): readonly Ip[] {
  const isSame = before?.length === now.length && before.every(({ text }, index) => now[index]?.text === text);
  return isSame ? before : now;
}

import { findObstacles } from '../../dataplane/direct/probes/obstacles.ts';
import { families, type Family, type Ip } from '../../core/ip/ip.ts';
import { kubeProxyHealthPort } from '../../core/model/contract.ts';
import type { NodeName } from '../../core/model/names.ts';
import type { Node } from '../../core/model/node.ts';
import type { KubeProxy, KubeProxyAnswer } from '../../health/kube-proxy-sync.ts';
import type { CheckedNetwork } from './host.ts';

/** What `direct` needs of a node. `ready`: all that can be seen from here. */
const states = ['ready', 'noSync', 'untimed', 'noAnswer', 'offLink', 'thisHost'] as const;
/** Those that are found without probes. */
const hopObstacles = ['noAnswer', 'offLink', 'thisHost'] as const;
export type CheckedHopState = (typeof states)[number];

/** A node in one family. `link`: the interface of this host on whose LAN it is. */
export type CheckedHop = {
  readonly node: NodeName;
  readonly family: Family;
  readonly address: Ip;
  readonly link: string | undefined;
  readonly state: CheckedHopState;
};

/** Asks the kube-proxy of each node for its last syncs, as the gate does (`src/health/gate.ts`). */
export async function findNextHops(
  nodes: readonly Node[],
  network: CheckedNetwork,
  makeKubeProxy: () => KubeProxy,
  signal: AbortSignal,
): Promise<readonly CheckedHop[]> {
  const targets = new Map(
    nodes.flatMap(({ name, addresses }) => addresses.map((address) => [`${name} ${address.text}`, address] as const)),
  );
  const ask = async (address: Ip): Promise<KubeProxyAnswer | undefined> => {
    const kubeProxy = makeKubeProxy();
    try {
      return await kubeProxy.ask(address, signal);
    } finally {
      kubeProxy.close();
    }
  };
  const answers = await askEach(ask, targets);
  /** kube-proxy may listen on the address of one family only. */
  const answerOf = ({ name, addresses }: Node): KubeProxyAnswer | undefined =>
    addresses.map(({ text }) => answers.get(`${name} ${text}`)).find((answer) => answer !== undefined);
  const answering = new Map(nodes.map((node) => [node.name, answerOf(node)]));
  const linkOf = (address: Ip): string | undefined => network.links.linkOf(address)?.name;
  const obstacles = findObstacles(new Map(nodes.map((node) => [node.name, { ...node, state: 'active' }])), {
    isOwn: ({ text }) => network.addresses().own.has(text),
    linkOf,
    isAnswering: (node) => answering.get(node) !== undefined,
    measured: () => undefined,
    isUnheard: () => false,
  });
  return nodes.flatMap(({ name, addresses }) =>
    addresses.map((address): CheckedHop => {
      const { family } = address;
      const obstacle = obstacles.get(name)?.[family];
      const state = hopObstacles.find((each) => each === obstacle) ?? syncState(answering.get(name), family);
      return { node: name, family, address, link: linkOf(address), state };
    }),
  );
}

function syncState(answer: KubeProxyAnswer | undefined, family: Family): CheckedHopState {
  if (answer?.syncs === undefined) return 'untimed';
  return answer.syncs[family] === undefined ? 'noSync' : 'ready';
}

/** What keeps `direct` from these nodes, and what to do, without those that are ready. `untimed` is served, too. */
export function nextHopTroubles(
  hops: readonly CheckedHop[],
  named: (names: readonly string[]) => string,
): readonly { readonly found: string; readonly advice: string }[] {
  const groups = Map.groupBy(hops, ({ state, family }) => `${state} ${family}`);
  return states.flatMap((state) =>
    families.flatMap((family) => {
      const names = named((groups.get(`${state} ${family}`) ?? []).map(({ node }) => node));
      const trouble = names === '' ? undefined : troubleOf(state, names, family);
      return trouble ?? [];
    }),
  );
}

function troubleOf(
  state: CheckedHopState,
  names: string,
  family: Family,
): { readonly found: string; readonly advice: string } | undefined {
  switch (state) {
    case 'ready':
      return undefined;
    case 'noSync':
      return {
        found: `kube-proxy on ${names} reports no sync of IPv${family}`,
        advice: `if the cluster has IPv${family} Services, read the log of kube-proxy: it has not started for this family, or the clock of the node was set back`,
      };
    case 'untimed':
      return {
        found: `kube-proxy on ${names} reports no times of syncs (before Kubernetes 1.34)`,
        advice: 'a node gets the packets of a new Service three seconds after its publication, without a proof',
      };
    case 'noAnswer':
      return {
        found: `kube-proxy on ${names} does not answer on port ${kubeProxyHealthPort}`,
        advice:
          'open the port to this host (k3s binds it to localhost): without it the node gets no packets of new Services',
      };
    case 'offLink':
      return {
        found: `no IPv${family} address of ${names} is in a LAN of this host`,
        advice: 'connect this host to the LAN of the nodes: a node behind a router gets no packets',
      };
    case 'thisHost':
      return {
        found: `${names} is this host itself`,
        advice: 'it gets no packets: use other nodes, or a load-balancer host outside the cluster',
      };
  }
}

const askedAtOnce = 500;

async function askEach<Key, Answer>(
  ask: (address: Ip) => Promise<Answer>,
  targets: ReadonlyMap<Key, Ip>,
): Promise<ReadonlyMap<Key, Answer>> {
  const answers = new Map<Key, Answer>();
  const waiting = targets.entries();
  const work = async (): Promise<void> => {
    for (const [key, address] of waiting) answers.set(key, await ask(address));
  };
  await Promise.all(Array.from({ length: Math.min(askedAtOnce, targets.size) }, work));
  return answers;
}

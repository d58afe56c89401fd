import { type Family, type Ip, parseIp } from '../../core/ip/ip.ts';
import type { NodeName } from '../../core/model/names.ts';
import type { Log } from '../../ports/log.ts';
import type { Metrics } from '../../ports/metrics.ts';
import type { ServerState } from '../../ports/proxy.ts';
import type { ServerStat } from './answers.ts';
import { type CheckAnswer, type Finding, type HealthState, initialHealth, judge, type Look } from './health-policy.ts';
import type { Held } from './held.ts';
import { type Probe, probeAll } from './probe.ts';
import { healthPort, nodeOfSlotServer, nodesBackend, type NodeServer } from './servers.ts';

/** The verdicts on the nodes of one family: the policy's state, and what it wants to be done. */
export type FamilyHealth = {
  /** True while HAProxy's own checks decide. */
  isChecked(): boolean;
  /**
   * Before a family's first nodes are given to HAProxy: does anything answer there? For HAProxy takes a new server out
   * at its first failed check.
   */
  survey(nodes: readonly NodeServer[], signal: AbortSignal): Promise<void>;
  /** After an adoption of a process with nodes: whether it was left with its checks on. */
  adopt(isChecked: boolean): void;
  /** Another worker: what the last one was told of single nodes it has not heard. */
  forgetOrders(): void;
  /** Takes HAProxy's statistics in, or our own probe's answers where those decide or are needed. */
  round(nodes: readonly NodeServer[], stats: readonly ServerStat[], signal: AbortSignal): Promise<Orders>;
  stateOf(node: NodeServer, stat: ServerStat | undefined): ServerState;
};

export type Orders = {
  /** Nodes whose connections must be ended. */
  readonly dead: readonly NodeName[];
  /** While our own probe decides: the nodes that go out of rotation (true) or come back. */
  readonly out: ReadonlyMap<NodeName, boolean>;
};

/** The runtime commands that carry the orders out. */
export function orderCommands(orders: Orders | undefined, family: Family, servers: Held['servers']): readonly string[] {
  if (orders === undefined) return [];
  const shared = nodesBackend(family);
  const commands = [...orders.out].map(
    ([node, isOut]) => `set server ${shared}/${node} health ${isOut ? 'down' : 'up'}`,
  );
  for (const node of orders.dead) {
    for (const [backend, names] of servers) {
      for (const name of names.keys())
        if (isOfNode(node, family, backend, name)) commands.push(`shutdown sessions server ${backend}/${name}`);
    }
  }
  return commands;
}

/** Whether a server, in the shared backend or in a slot, is that of a node in a family. */
export function isOfNode(node: NodeName, family: Family, backend: string, server: string): boolean {
  return backend === nodesBackend(family) ? server === node : nodeOfSlotServer(server, family) === node;
}

export function makeFamilyHealth(deps: {
  readonly family: Family;
  readonly probe: Probe;
  readonly log: Log;
  readonly metrics: Metrics;
}): FamilyHealth {
  const { family, probe, log } = deps;
  const gauge = deps.metrics.gauge(
    'furiwake_own_probe',
    "1 while no node answers kube-proxy's health port and our own probe stands in",
    ['family'],
  );
  const labels = { family: String(family) };
  gauge.set(0, labels);
  let state: HealthState = initialHealth;
  let isSurveyed = false;
  const ordered = new Map<NodeName, boolean>();

  const become = (next: HealthState): void => {
    if (next.mode !== state.mode) {
      gauge.set(next.mode === 'own' ? 1 : 0, labels);
      if (next.mode === 'own')
        log.warn({ family, port: healthPort }, 'no node answers the health port: only silent nodes are taken out');
      else log.info({ family, port: healthPort }, "nodes answer the health port again: HAProxy's checks decide");
    }
    state = next;
  };

  const take = (finding: Finding): ReturnType<typeof judge> => {
    const verdict = judge(state, finding);
    become(verdict.state);
    return verdict;
  };

  const probeNodes = async (
    nodes: readonly NodeServer[],
    gone: ReadonlyMap<NodeName, Ip>,
    signal: AbortSignal,
  ): Promise<Finding> => {
    const targets = new Map([...gone, ...nodes.map(({ node, address }) => [node, address] as const)]);
    const answers = [...(await probeAll(probe, targets, signal))];
    return {
      from: 'probe',
      answers: new Map(answers.filter(([node]) => !gone.has(node))),
      gone: new Map(answers.filter(([node]) => gone.has(node))),
    };
  };

  return {
    isChecked: () => state.mode === 'checks',
    survey: async (nodes, signal) => {
      if (nodes.length > 0 && !isSurveyed && state.mode === 'checks') take(await probeNodes(nodes, new Map(), signal));
      isSurveyed = nodes.length > 0;
    },
    adopt: (isChecked) => {
      isSurveyed = true;
      if (isChecked !== (state.mode === 'checks')) become({ ...initialHealth, mode: isChecked ? 'checks' : 'own' });
    },
    forgetOrders: () => ordered.clear(),
    round: async (nodes, stats, signal) => {
      let verdict: ReturnType<typeof judge> | undefined;
      if (state.mode === 'checks') {
        // Also those that are no longer wanted: their last connections must not outlive them.
        const looks = stats.map((stat) => [stat.server as NodeName, lookOf(stat)] as const);
        verdict = take({ from: 'checks', looks: new Map(looks) });
      }
      if (state.mode === 'own' || verdict?.wantsProbe === true)
        verdict = take(await probeNodes(nodes, goneOf(nodes, stats), signal));
      const out = new Map<NodeName, boolean>();
      if (state.mode === 'checks') ordered.clear();
      else {
        for (const [node, { isOut }] of state.nodes) if (ordered.get(node) !== isOut) out.set(node, isOut);
      }
      for (const [node, isOut] of out) ordered.set(node, isOut);
      return { dead: verdict?.dead ?? [], out };
    },
    stateOf: (node, stat) => {
      if (node.isDraining) return 'drain';
      const health = state.nodes.get(node.node);
      if (state.mode === 'own') return health?.isOut === true ? 'silent' : 'up';
      if (stat === undefined || isUp(stat)) return 'up';
      return (answerOf(stat) ?? health?.answer) === 'silent' ? 'silent' : 'unhealthy';
    },
  };
}

/** What HAProxy still has and the table no longer: their last connections must not outlive them. */
function goneOf(nodes: readonly NodeServer[], stats: readonly ServerStat[]): ReadonlyMap<NodeName, Ip> {
  const wanted = new Set<string>(nodes.map(({ node }) => node));
  const gone = new Map<NodeName, Ip>();
  for (const { server, address } of stats) {
    const ip = parseIp(address);
    if (ip !== undefined && !wanted.has(server)) gone.set(server as NodeName, ip);
  }
  return gone;
}

function lookOf(stat: ServerStat): Look {
  return { isUp: isUp(stat), answer: answerOf(stat) };
}

/** `UP`, and `UP 1/2` on its way down; also `no check`. */
function isUp(stat: ServerStat): boolean {
  return stat.status.startsWith('UP') || stat.status === 'no check';
}

/** What the last check found, `* ` while the next one is under way; `undefined` while that is not known. */
export function answerOf(stat: Pick<ServerStat, 'checkStatus' | 'lastCheck'>): CheckAnswer | undefined {
  const status = stat.checkStatus.replace(/^\* /, '');
  switch (status) {
    case 'L7OK':
    case 'L7OKC':
      return 'ok';
    case 'L7STS':
      return 'unhealthy';
    case 'L7RSP': // something else than HTTP
    case 'L7TOUT': // accepted, then nothing
    case 'L6RSP':
    case 'L6TOUT':
      return 'alive';
    case 'L4TOUT':
      return 'silent';
    case 'L4CON':
      // A check that is under way has wiped the system's words away.
      if (status !== stat.checkStatus) return undefined;
      return /refused|reset/i.test(stat.lastCheck) ? 'alive' : 'silent'; // else: no route to it
    default:
      return undefined; // INI, SOCKERR (our own want of something), UNK
  }
}

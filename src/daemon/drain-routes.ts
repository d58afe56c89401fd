import { quote } from '../core/addresses/request.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import { type NodeState, nodeStateWords, takesConnections } from '../core/status/node-states.ts';
import { portWords, someOf } from '../core/status/sentences.ts';
import { type HttpHandler, type HttpReply, type Routes, textReply } from '../http/server.ts';
import type { Log } from '../ports/log.ts';
import type { Drains } from './drains.ts';
import type { HostView } from './host-view.ts';
import type { ListenerLine, ServiceDetail } from './service-detail.ts';

export type DrainSource = {
  readonly view: Pick<HostView, 'service' | 'nodes' | 'pastHaproxy'>;
  readonly drains: Drains<NodeName>;
  readonly serviceDrains: Drains<ServiceKey>;
  /** All nodes; `undefined` while they are not known. */
  readonly nodes: () => ReadonlyMap<NodeName, NodeState> | undefined;
  /** `host lb2 holds the Lease …`: the nodes and Services are known there; `undefined`: no other host does. */
  readonly otherHolder: () => string | undefined;
  readonly log: Log;
};

/** `POST /drain` and `POST /undrain`: the body is the name of a node, or `NS/NAME` of a Service. */
export function drainRoutes(source: DrainSource): Routes {
  const [ofNodes, ofServices] = [nodeHandlers(source), serviceHandlers(source)];
  const route =
    (verb: keyof Handlers): HttpHandler =>
    (body, signal, query) =>
      (body.includes('/') ? ofServices : ofNodes)[verb](body.trim(), signal, query);
  return { 'POST /drain': route('drain'), 'POST /undrain': route('undrain') };
}

type Handlers = { readonly drain: HttpHandler; readonly undrain: HttpHandler };

function nodeHandlers({ view, drains, nodes, otherHolder, log }: DrainSource): Handlers {
  const refusalOf = (node: NodeName): HttpReply | undefined => {
    const known = nodes();
    if (known === undefined) return unknownReply('nodes', otherHolder());
    if (known.has(node)) return undefined;
    return textReply(
      404,
      `node ${quote(node)} not found. Nodes: ${someOf([...known.keys()].sort(), mostShown) || 'none'}\n`,
    );
  };
  return {
    drain: async (name, signal) => {
      const node = name as NodeName;
      const refusal = refusalOf(node);
      if (refusal !== undefined) return refusal;
      await drains.set(node, true);
      log.info({ node, drained: [...drains.current()] }, 'node drained: no new connections');
      const lines = (await view.nodes(signal)).filter((line) => line.node === node);
      const left = lines.length === 0 ? undefined : lines.reduce((sum, { connections }) => sum + connections, 0);
      const inHaproxy = left === undefined ? '' : `: ${connectionsWords(left)} left in HAProxy`;
      const others = view.pastHaproxy(node);
      const uncounted =
        others.length === 0 ? '' : `. Its flows of ${others.join(' and ')} also continue, and are not counted`;
      const words = `node/${node} drained${inHaproxy}${uncounted}`;
      const states = withDrains(nodes() ?? new Map(), drains);
      if ([...states.values()].some(takesConnections)) return textReply(200, `${words}\n`);
      const trouble = `no healthy node is left: ${nodeStateWords(states)}`;
      log.warn({ node }, trouble);
      return textReply(200, `${words}\nWarning: ${trouble}.\n`);
    },
    undrain: async (name) => {
      const node = name as NodeName;
      if (!drains.current().has(node)) return refusalOf(node) ?? textReply(200, `node/${node} is not drained\n`);
      await drains.set(node, false); // a removed node may also be undrained
      log.info({ node, drained: [...drains.current()] }, 'node undrained');
      return textReply(200, `node/${node} accepts connections again\n`);
    },
  };
}

function serviceHandlers({ view, serviceDrains, otherHolder, log }: DrainSource): Handlers {
  return {
    drain: async (name, signal) => {
      const service = name as ServiceKey;
      const detail = await view.service(service, signal);
      if (typeof detail !== 'object') return noServiceReply(service, detail, otherHolder());
      const others = detail.listeners.filter(
        ({ dataplane, nodePort }) => dataplane === 'direct' && nodePort === undefined,
      );
      if (others.length > 0) return textReply(409, `service/${service} not drained: ${othersWords(others)}\n`);
      await serviceDrains.set(service, true);
      log.info({ service }, 'Service drained: no new connections');
      return textReply(200, `service/${service} drained${connectionsLeft(detail)}\n`);
    },
    undrain: async (name, signal) => {
      const service = name as ServiceKey;
      if (!serviceDrains.current().has(service)) {
        const detail = await view.service(service, signal);
        if (typeof detail !== 'object') return noServiceReply(service, detail, otherHolder());
        return textReply(200, `service/${service} is not drained\n`);
      }
      await serviceDrains.set(service, false); // a deleted Service may also be undrained
      log.info({ service }, 'Service undrained');
      return textReply(200, `service/${service} accepts connections again\n`);
    },
  };
}

/** `TCP ports 80, 443, UDP port 53 have no nodePort, so …`. */
function othersWords(listeners: readonly ListenerLine[]): string {
  const groups = Map.groupBy(listeners, ({ protocol }) => protocol);
  const each = Array.from(groups, ([protocol, lines]) => `${protocol} ${portWords(lines.map(({ port }) => port))}`);
  const [have, them] = listeners.length === 1 ? ['has', 'it'] : ['have', 'them'];
  return `${each.join(', ')} ${have} no nodePort, so only direct can serve ${them}, and it cannot refuse new connections and keep the existing ones`;
}

function connectionsLeft({ service }: ServiceDetail): string {
  const left = service.traffic?.connections;
  return left === undefined ? '' : `: ${connectionsWords(left)} left`;
}

function connectionsWords(count: number): string {
  return `${count} ${count === 1 ? 'connection' : 'connections'}`;
}

/** The answer for a Service that `HostView.service` does not describe. `otherHolder`: see `DrainSource`. */
export function noServiceReply(
  service: ServiceKey,
  why: 'unknown' | undefined,
  otherHolder: string | undefined,
): HttpReply {
  if (why === 'unknown') return unknownReply('Services', otherHolder);
  return textReply(
    404,
    `Service ${quote(service)} not found, or not a LoadBalancer Service of this furiwake's class and namespaces\n`,
  );
}

function unknownReply(what: 'nodes' | 'Services', otherHolder: string | undefined): HttpReply {
  if (otherHolder !== undefined)
    return textReply(409, `This host waits: ${otherHolder}. Run the command there; each host keeps its own drains.\n`);
  return textReply(503, `The ${what} are not known yet. Try again when \`furiwake status\` says ready.\n`);
}

const mostShown = 20;

/** The states once the controller has followed the drains. */
function withDrains(
  states: ReadonlyMap<NodeName, NodeState>,
  drains: Drains<NodeName>,
): ReadonlyMap<NodeName, NodeState> {
  return new Map(
    Array.from(states, ([name, state]) => [
      name,
      drains.current().has(name) && state !== 'excluded' && state !== 'without address' ? 'drained' : state,
    ]),
  );
}

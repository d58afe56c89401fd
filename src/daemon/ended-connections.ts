import type { Agent } from '../agent/agent.ts';
import { quote } from '../core/addresses/request.ts';
import type { NodeName, ServiceKey } from '../core/model/names.ts';
import { type Listener, usesHaproxy } from '../core/traffic/table.ts';
import { type HttpHandler, jsonReply, textReply } from '../http/server.ts';
import type { Clock } from '../ports/clock.ts';
import type { EndedConnection, Proxy } from '../ports/proxy.ts';
import { haproxyTrouble } from './host-status.ts';

/** The data of `furiwake connections`; its JSON form is the answer of the admin socket. */
export type ConnectionList = {
  readonly at: string;
  /** The latest last. */
  readonly connections: readonly ConnectionLine[];
  /** Why there may be others: HAProxy serves not all of the Service. */
  readonly note: string | undefined;
};

export type ConnectionLine = Omit<EndedConnection, 'atMs' | 'listener'> & {
  readonly at: string;
  readonly address: string;
  readonly port: number;
  /** That has the listener now; `undefined`: none. */
  readonly service: ServiceKey | undefined;
  /** The node with the address of the server; `undefined`: it is a Pod, or the node is gone. */
  readonly node: NodeName | undefined;
};

/** More make an answer of some megabytes. */
export const mostListed = 10_000;

/** `GET /connections?last=N`, with `&service=NS/NAME` of one Service only. */
export function connectionsRoute({
  agent,
  proxy,
  clock,
}: {
  readonly agent: Pick<Agent, 'desired'>;
  readonly proxy: Pick<Proxy, 'connections' | 'trouble'>;
  readonly clock: Pick<Clock, 'now'>;
}): HttpHandler {
  return async (_, signal, query) => {
    const service = query.get('service');
    const table = agent.desired();
    const own = [...(table?.listeners.values() ?? [])].filter((each) => each.service === service);
    if (service !== null && !own.some(usesHaproxy)) return textReply(404, `${noListenerWords(service, own)}\n`);
    const keys = service === null ? undefined : new Set(own.map(({ key }) => key));
    const nodes = new Map(
      Array.from(table?.nodes.values() ?? [], ({ name, addresses }) => [name, addresses] as const).flatMap(
        ([name, addresses]) => addresses.map(({ text }) => [text, name] as const),
      ),
    );
    const other = own.find(({ dataplane }) => dataplane !== 'haproxy');
    const ended = await proxy.connections({ keys, most: mostOf(query.get('last')) }, signal).catch(() => undefined);
    if (ended === undefined) return textReply(503, `HAProxy: ${haproxyTrouble(agent, proxy)}\n`);
    return jsonReply({
      at: new Date(clock.now()).toISOString(),
      connections: ended.map(({ atMs, listener, ...rest }): ConnectionLine => {
        const [address = '', port] = listener.split('|');
        return {
          ...rest,
          at: new Date(atMs).toISOString(),
          address,
          port: Number(port),
          service: table?.listeners.get(listener)?.service,
          node: nodes.get(rest.server?.address ?? ''),
        };
      }),
      note: other && otherPortWords(other),
    } satisfies ConnectionList);
  };
}

function mostOf(text: string | null): number {
  const most = Number(text);
  return Number.isInteger(most) && most > 0 ? Math.min(most, mostListed) : mostListed;
}

function noListenerWords(service: string, [listener]: readonly Listener[]): string {
  return listener === undefined
    ? `Service ${quote(service)} not found, or this host serves no port of it`
    : `HAProxy serves no port of Service ${quote(service)}, and ${unlistedWords(listener)}`;
}

function otherPortWords(listener: Listener): string {
  const port = `port ${listener.port}/${listener.protocol}`;
  const words = usesHaproxy(listener)
    ? `HAProxy serves ${port} only while ${listener.dataplane} cannot`
    : `HAProxy does not serve ${port}`;
  return `${words}, and ${unlistedWords(listener)}`;
}

/** Where clients of a listener that HAProxy does not serve are seen. */
function unlistedWords({ dataplane }: Listener): string {
  const where =
    dataplane === 'nat' ? '`conntrack --dump` on this host lists them' : 'its Pods see the addresses of its clients';
  return `${dataplane} keeps no list of connections; ${where}`;
}

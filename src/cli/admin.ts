import { once } from 'node:events';
import { request } from 'node:http';
import type { AddressPlan } from '../core/addresses/plan.ts';
import type { NodeName } from '../core/model/names.ts';
import type { TrafficTable } from '../core/traffic/table.ts';
import { type Routes, jsonReply, serveHttp, textReply } from '../http/server.ts';
import type { Files } from '../ports/files.ts';
import type { ProxyObservation } from '../ports/proxy.ts';
import { StartError } from './errors.ts';

/** What `furiwake status` shows. */
export type HostStatus = {
  readonly version: string;
  readonly pid: number;
  readonly loadBalancerClass: string;
  /** What is not ready, in words. */
  readonly notReady: readonly string[];
  readonly haproxy:
    | { readonly pid: number; readonly version: string; readonly connections: number; readonly maxConnections: number }
    | undefined;
  readonly services: readonly ServiceLine[];
  readonly nodes: readonly {
    readonly node: string;
    readonly family: 4 | 6;
    readonly state: string;
    readonly connections: number;
    readonly total: number;
  }[];
};

export type ServiceLine = {
  readonly service: string;
  readonly addresses: readonly string[];
  readonly ports: readonly number[];
  readonly reason: string;
  readonly message: string;
  readonly connections: number;
  readonly total: number;
};

/** The lines of `furiwake status`, from the plan, what is in force and what HAProxy counts. */
export function serviceLines(
  plan: AddressPlan | undefined,
  inForce: TrafficTable,
  observed: ProxyObservation | undefined,
): readonly ServiceLine[] {
  const counts = new Map<string, { connections: number; total: number }>();
  for (const listener of observed?.listeners ?? []) {
    const service = inForce.rows.get(listener.key)?.service;
    if (service === undefined) continue;
    const sum = counts.get(service) ?? { connections: 0, total: 0 };
    counts.set(service, { connections: sum.connections + listener.connections, total: sum.total + listener.total });
  }
  return [...(plan?.assignments ?? [])]
    .map(([service, { addresses, verdict }]) => ({
      service,
      addresses: addresses.map(({ ip }) => ip.text),
      ports: [...new Set(addresses.flatMap(({ served }) => served.map(({ port }) => port)))],
      reason: verdict.reason,
      message: verdict.message,
      ...(counts.get(service) ?? { connections: 0, total: 0 }),
    }))
    .sort((a, b) => (a.service < b.service ? -1 : 1));
}

export type AdminSource = {
  readonly status: (signal: AbortSignal) => Promise<HostStatus>;
  readonly setDrained: (nodes: ReadonlySet<NodeName>) => void;
};

/** `GET /status`, `POST /drain` and `POST /undrain` (the body is a node's name). */
export function adminRoutes({ status, setDrained }: AdminSource): Routes {
  let drained: ReadonlySet<NodeName> = new Set();
  const change = (next: ReadonlySet<NodeName>): void => {
    drained = next;
    setDrained(drained);
  };
  return {
    'GET /status': async (_, signal) => jsonReply(await status(signal)),
    'POST /drain': async (body) => {
      change(new Set([...drained, body.trim() as NodeName]));
      return textReply(200, `drained: ${[...drained].join(', ')}\n`);
    },
    'POST /undrain': async (body) => {
      change(new Set([...drained].filter((node) => node !== body.trim())));
      return textReply(200, drained.size === 0 ? 'no node is drained\n' : `drained: ${[...drained].join(', ')}\n`);
    },
  };
}

/**
 * Serves the admin socket, which is also the lock of the state directory: a socket that answers means that another
 * furiwake lives there. Throws {@link StartError} then.
 */
export async function serveAdmin(
  path: string,
  routes: Routes,
  files: Files,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  try {
    return await serveHttp({ path }, routes, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
  }
  const other = await askAdmin(path, 'GET', '/status', '', signal).catch(() => undefined);
  if (other !== undefined) {
    const { pid } = JSON.parse(other) as HostStatus;
    throw new StartError(
      `another furiwake (process ${pid}) uses this state directory (${path}): end it first, or give this one its own --state-dir`,
    );
  }
  await files.remove(path); // its owner died without taking it away
  return serveHttp({ path }, routes, signal);
}

const askTimeoutMs = 5_000;

/** One request to the furiwake of this host. Throws {@link StartError} when none answers. */
export async function askAdmin(
  socketPath: string,
  method: string,
  path: string,
  body: string,
  signal: AbortSignal,
): Promise<string> {
  try {
    const asked = request({ socketPath, method, path, timeout: askTimeoutMs, signal });
    asked.on('timeout', () => asked.destroy(new Error(`no answer within ${askTimeoutMs} ms`)));
    asked.end(body);
    const [response] = (await once(asked, 'response')) as [AsyncIterable<Buffer> & { statusCode?: number }];
    let text = '';
    for await (const chunk of response) text += chunk.toString('utf8');
    if (response.statusCode !== 200) throw new Error(text.trim());
    return text;
  } catch (error) {
    signal.throwIfAborted();
    throw new StartError(
      `no furiwake answers on ${socketPath}: ${error instanceof Error ? error.message : String(error)}; is it running, with this --state-dir?`,
      { cause: error },
    );
  }
}

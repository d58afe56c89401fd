import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Agent, type Dispatcher } from 'undici';
import { parse } from 'yaml';

/** The fields of a Service that the benchmarks read. */
export type WireService = {
  readonly metadata: { readonly name: string; readonly resourceVersion: string };
  readonly spec: { readonly ports: readonly { readonly port: number; readonly nodePort: number }[] };
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string }[] } };
};

export type WatchEvent = { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: WireService };

/** A client of the API server with persistent connections, without code of furiwake. */
export type Api = {
  /** @throws Error unless the answer is a success. */
  send(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<unknown>;
  /** All objects, then every change; the watch has started when it resolves. */
  watch(path: string): Promise<AsyncIterable<WatchEvent>>;
  close(): Promise<void>;
};

type Kubeconfig = {
  readonly clusters: readonly [{ cluster: { server: string; 'certificate-authority-data': string } }];
  readonly users: readonly [{ user: { token: string } }];
};

/** @param kubeconfig path of one with one cluster and a token, as the lab writes them. */
export async function connectApi(kubeconfig: string): Promise<Api> {
  const { clusters, users } = parse(await readFile(kubeconfig, 'utf8')) as Kubeconfig;
  const { server: origin, 'certificate-authority-data': authority } = clusters[0].cluster;
  const agent = new Agent({ allowH2: false, connect: { ca: Buffer.from(authority, 'base64') }, bodyTimeout: 0 });
  const headers = { authorization: `Bearer ${users[0].user.token}`, 'content-type': 'application/json' };
  const request = async (
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<Dispatcher.ResponseData> => {
    const answer = await agent.request({
      origin,
      path,
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
    });
    if (answer.statusCode < 300) return answer;
    throw new Error(`${method} ${path}: ${answer.statusCode} ${await answer.body.text()}`);
  };
  return {
    send: async (method, path, body) => (await request(method, path, body)).body.json(),
    watch: async (path) => events((await request('GET', `${path}?watch=true`)).body),
    close: () => agent.destroy(),
  };
}

async function* events(body: Dispatcher.ResponseData['body']): AsyncGenerator<WatchEvent> {
  for await (const line of createInterface({ input: body })) yield JSON.parse(line) as WatchEvent;
}

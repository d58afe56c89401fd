import type { Api, WireService } from './api.ts';

/** A Service of type LoadBalancer in front of the Pods `app: echo`. */
export type ServiceWish = {
  readonly name: string;
  readonly address?: string;
  readonly nodePort?: number;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Fields of the spec, in place of the usual ones. */
  readonly spec?: Readonly<Record<string, unknown>>;
};

/** The states of the Services of a namespace, from a watch. */
export type Watched = {
  /** Resolves with the time at which it had an address. */
  readonly published: (name: string) => Promise<number>;
  /** Resolves with the time at which it was deleted. */
  readonly gone: (name: string) => Promise<number>;
};

/** Milliseconds, the same on all hosts of a machine. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export async function watchServices(api: Api, namespace: string): Promise<Watched> {
  const published = makeMoments();
  const gone = makeMoments();
  const follow = async (events: AsyncIterable<{ type: string; object: WireService }>): Promise<void> => {
    for await (const { type, object } of events) {
      if (type === 'DELETED') gone.pass(object.metadata.name);
      else if (object.status?.loadBalancer?.ingress?.[0]?.ip !== undefined) published.pass(object.metadata.name);
    }
    throw new Error('the watch of Services has ended');
  };
  void follow(await api.watch(servicesPath(namespace)));
  return { published: published.of, gone: gone.of };
}

/** Creates it; returns the times of the request and of its answer. */
export async function createService(
  api: Api,
  namespace: string,
  { name, address, nodePort, annotations: more, spec: fields }: ServiceWish,
): Promise<{ readonly createdAt: number; readonly answeredAt: number }> {
  const annotations = { ...more, ...(address === undefined ? {} : { 'furiwake.dev/addresses': address }) };
  const ports = [{ port: 80, targetPort: 8080, ...(nodePort === undefined ? {} : { nodePort }) }];
  const spec = { type: 'LoadBalancer', selector: { app: 'echo' }, ports, ...fields };
  const createdAt = now();
  await api.send('POST', servicesPath(namespace), { metadata: { name, annotations }, spec });
  return { createdAt, answeredAt: now() };
}

export function servicesPath(namespace: string, name?: string): string {
  return `/api/v1/namespaces/${namespace}/services${name === undefined ? '' : `/${name}`}`;
}

/** Does `work` for each of the items, in order, with limited concurrency. */
export async function inParallel<T>(
  items: readonly T[],
  workers: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: workers }, worker));
}

type Moments = { readonly pass: (name: string) => void; readonly of: (name: string) => Promise<number> };

/** Times by name, which may be requested before or after they are known; only the first one counts. */
function makeMoments(): Moments {
  const known = new Map<string, PromiseWithResolvers<number>>();
  const entry = (name: string): PromiseWithResolvers<number> => {
    let found = known.get(name);
    if (found === undefined) known.set(name, (found = Promise.withResolvers<number>()));
    return found;
  };
  return { pass: (name) => entry(name).resolve(now()), of: (name) => entry(name).promise };
}

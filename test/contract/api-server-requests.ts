import { statusError } from '../../src/kube/answers.ts';
import type { ApplyOptions, KubeClient } from '../../src/kube/client.ts';
import { isKubeError, type KubeErrorCode } from '../../src/kube/errors.ts';
import { eventBody } from '../../src/kube/event-object.ts';
import { finalizerPatch, type JsonPatch, statusBody } from '../../src/kube/write-bodies.ts';
import { readLines } from '../../src/kube/lines.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { resourcePath } from '../../src/kube/paths.ts';

/** An API server, and a namespace in it that is empty. */
export type ApiServerScene = AsyncDisposable & {
  readonly client: KubeClient;
  readonly namespace: string;
  /** A client that may do nothing. */
  readonly withoutRights: KubeClient;
  /** A version of Services; the server has forgotten the changes since then. */
  forgottenVersion(): Promise<string>;
};

export type Service = KubeObject & {
  readonly spec: { readonly type: string; readonly ports: readonly { readonly nodePort?: number }[] };
  readonly status: { readonly loadBalancer: { readonly ingress?: readonly object[] }; readonly conditions?: unknown };
};
export type Line = { readonly type: string; readonly object: KubeObject };

export const signal: AbortSignal = new AbortController().signal;
/** Of a server-side apply, as furiwake makes it. */
export const mine: ApplyOptions = { fieldManager: 'furiwake', force: true, signal };
const serviceResource = { apiVersion: 'v1', plural: 'services' };

export function servicesOf({ namespace }: Pick<ApiServerScene, 'namespace'>): string {
  return resourcePath(serviceResource, { namespace });
}

export function bodyOf({ namespace }: ApiServerScene, name: string): object {
  return { metadata: { name, namespace }, spec: { type: 'LoadBalancer', ports: [{ port: 80 }] } };
}

export function createService(scene: ApiServerScene, name: string): Promise<Service> {
  return scene.client.create<Service>(servicesOf(scene), bodyOf(scene, name), { signal });
}

export function annotate(client: KubeClient, path: string, note: string): Promise<Service> {
  return client.jsonPatch(path, [{ op: 'add', path: '/metadata/annotations', value: { note } }], { signal });
}

export function statusOf(
  { namespace }: ApiServerScene,
  name: string,
  uid: string,
  ingress: readonly object[],
): ReturnType<typeof statusBody<{ loadBalancer: { ingress: readonly object[] } }>> {
  return statusBody({ apiVersion: 'v1', kind: 'Service', namespace, name, uid }, { loadBalancer: { ingress } });
}

export function finalizersOf({ metadata }: KubeObject, ...finalizers: readonly string[]): JsonPatch {
  return finalizerPatch({ uid: metadata.uid ?? '', resourceVersion: metadata.resourceVersion ?? '', finalizers });
}

export function eventOn({ namespace }: Pick<ApiServerScene, 'namespace'>, name: string, note: string): object {
  const regarding = { apiVersion: 'v1', kind: 'Service', namespace, name, uid: 'uid' };
  return eventBody(
    { regarding, type: 'Normal', reason: 'Assigned', action: 'Assign', note },
    { suffix: 'suffix', nowMs: 1_800_000_000_000, reportingController: 'furiwake.dev/test', reportingInstance: 'test' },
  );
}

export function uidOf({ metadata }: KubeObject): string {
  return metadata.uid ?? '';
}

export function namesOf(items: readonly KubeObject[]): readonly string[] {
  return items.map(({ metadata }) => metadata.name);
}

export async function failureOf(promise: Promise<unknown>): Promise<{ readonly code: KubeErrorCode }> {
  const error = await promise.then(
    () => new Error('it did not fail'),
    (cause: unknown) => cause,
  );
  if (!isKubeError(error)) throw error;
  return error;
}

export const initialEvents = { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' };

/** A watch; its lines one by one, and an ERROR event as the error that it means. */
export function openWatch(
  client: KubeClient,
  path: string,
  query: Readonly<Record<string, string>>,
): AsyncDisposable & { next(): Promise<Line>; nextChange(): Promise<Line>; rest(): Promise<readonly Line[]> } {
  const stop = new AbortController();
  async function* lines(): AsyncGenerator<Line> {
    const body = await client.stream(path, {
      signal: stop.signal,
      query: { watch: 'true', allowWatchBookmarks: 'true', ...query },
    });
    for await (const text of readLines(body)) {
      const line = JSON.parse(text) as Line;
      if (line.type === 'ERROR') throw statusError(line.object as object, { verb: 'watch', path });
      yield line;
    }
  }
  const all = lines();
  const next = async (): Promise<Line> => {
    const { value } = await all.next();
    if (value === undefined) throw new Error('the watch has ended');
    return value as Line;
  };
  return {
    next,
    // An API server may send a bookmark at any time.
    nextChange: async () => {
      let line = await next();
      while (line.type === 'BOOKMARK') line = await next();
      return line;
    },
    rest: async () => {
      const left: Line[] = [];
      for await (const line of all) left.push(line);
      return left;
    },
    [Symbol.asyncDispose]: async () => stop.abort(),
  };
}

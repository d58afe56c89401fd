import type { KubeClient, RequestOptions } from '../../src/kube/client.ts';
import { KubeError, type KubeErrorCode } from '../../src/kube/errors.ts';

/** A request to a fake API server. */
export type Asked = {
  readonly verb: string;
  readonly path: string;
  readonly body: unknown;
  readonly query: RequestOptions['query'];
};

/** A client whose server answers with the result of `answer`, and refuses with its exception. */
export function clientOf(answer: (asked: Asked) => unknown): KubeClient {
  const request = async (
    verb: string,
    path: string,
    body: unknown,
    { signal, query }: RequestOptions,
  ): Promise<unknown> => {
    signal.throwIfAborted();
    return answer({ verb, path, body, query });
  };
  const client = {
    get: (path: string, options: RequestOptions) => request('get', path, undefined, options),
    list: (path: string, options: RequestOptions) => request('list', path, undefined, options),
    create: (path: string, body: unknown, options: RequestOptions) => request('create', path, body, options),
    replace: (path: string, body: unknown, options: RequestOptions) => request('update', path, body, options),
    jsonPatch: (path: string, body: unknown, options: RequestOptions) => request('patch', path, body, options),
    apply: (path: string, body: unknown, options: RequestOptions) => request('apply', path, body, options),
    close: async () => undefined,
  };
  return client as unknown as KubeClient;
}

/** Refuses a request. */
export function refuse(code: KubeErrorCode, { verb, path }: Asked, cause?: unknown): never {
  throw new KubeError({ code, message: `refused with ${code}`, verb, path, cause });
}

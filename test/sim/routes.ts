import type { RequestRecord } from './faults.ts';

/** What a request asks for, from its method and URL. */
export type Route = {
  readonly verb: RequestRecord['verb'];
  readonly apiVersion: string;
  readonly plural: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  readonly query: URLSearchParams;
};

/** Reads `/api/v1/…` and `/apis/GROUP/VERSION/…`; `undefined` for everything else. */
export function routeOf(method: string, url: URL, contentType: string): Route | undefined {
  const [, root, ...rest] = url.pathname.split('/').map(decodeURIComponent);
  const depth = root === 'api' ? 1 : root === 'apis' ? 2 : undefined;
  if (depth === undefined || rest.length <= depth) return undefined;
  const apiVersion = rest.slice(0, depth).join('/');
  const parts = rest.slice(depth);
  const isNamespaced = parts[0] === 'namespaces' && parts.length > 2 && parts[2] !== 'status';
  const namespace = isNamespaced ? parts[1] : undefined;
  const [plural = '', name, subresource] = isNamespaced ? parts.slice(2) : parts;
  const verb = verbOf(method, url.searchParams, name, contentType);
  return { verb, apiVersion, plural, namespace, name, subresource, query: url.searchParams };
}

function verbOf(method: string, query: URLSearchParams, name: string | undefined, contentType: string): string {
  switch (method) {
    case 'GET':
      if (query.get('watch') === 'true') return 'watch';
      return name === undefined ? 'list' : 'get';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return contentType.startsWith('application/apply-patch') ? 'apply' : 'patch';
    default:
      return method.toLowerCase();
  }
}

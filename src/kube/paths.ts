/** A resource as paths of the API name it: `{ apiVersion: 'v1', plural: 'services' }`. */
export type Resource = { readonly apiVersion: string; readonly plural: string };

export type PathParts = {
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
};

/** The path of a collection, an object or a subresource; every part is percent-encoded. */
export function resourcePath(resource: Resource, { namespace, name, subresource }: PathParts = {}): string {
  const parts = [
    ...(namespace === undefined ? [] : ['namespaces', namespace]),
    resource.plural,
    ...(name === undefined ? [] : [name]),
    ...(subresource === undefined ? [] : [subresource]),
  ];
  return `${rootOf(resource.apiVersion)}/${parts.map(encodeURIComponent).join('/')}`;
}

/** Core resources are under `/api/v1`, those of a group under `/apis/GROUP/VERSION`. */
function rootOf(apiVersion: string): string {
  const parts = apiVersion.split('/').map(encodeURIComponent);
  return parts.length === 1 ? `/api/${apiVersion}` : `/apis/${parts.join('/')}`;
}

const namespaceSubresources = new Set(['status', 'finalize']);

/** Label of a path in metrics: `services`, `services/status`; without names of objects, so that there are few. */
export function resourceOf(path: string): string {
  const [, root, ...rest] = path.split('/');
  const parts = root === 'api' ? rest.slice(1) : root === 'apis' ? rest.slice(2) : [];
  const isNamespaced = parts[0] === 'namespaces' && parts.length > 2 && !namespaceSubresources.has(parts[2] ?? '');
  const [plural, , subresource] = isNamespaced ? parts.slice(2) : parts;
  if (plural === undefined) return 'other';
  return subresource === undefined ? plural : `${plural}/${subresource}`;
}

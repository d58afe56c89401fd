import type { KubeClient } from '../kube/client.ts';
import type { KubeList, KubeObject } from '../kube/object.ts';
import { type Resource, resourcePath } from '../kube/paths.ts';

/** As in client-go: an answer stays small, whatever the size of the cluster. */
const pageSize = '500';

/** All objects of a kind, page by page. Throws `KubeError`. */
export async function* listAll<T extends KubeObject>(
  client: Pick<KubeClient, 'list'>,
  resource: Resource,
  signal: AbortSignal,
): AsyncGenerator<T> {
  let next: string | undefined = '';
  while (next !== undefined) {
    const query = { limit: pageSize, ...(next === '' ? {} : { continue: next }) };
    const page: KubeList<T> = await client.list<T>(resourcePath(resource), { signal, query });
    yield* page.items;
    next = page.metadata.continue || undefined;
  }
}

import type { Files } from '../../ports/files.ts';

/**
 * Whether br_netfilter may pass packets of bridges through the hooks of IP: the module is loaded, and the host has had a bridge since,
 * with which its hooks come. Its settings, of all bridges or of one, may change at any time, so they do not matter. A file that cannot be
 * read changes nothing.
 */
export function makeBridgeFilter(files: Pick<Files, 'exists' | 'list'>): () => Promise<boolean> {
  let isFiltered = false;
  const hasBridge = async (): Promise<boolean> => {
    for (const name of await files.list('/sys/class/net'))
      if (await files.exists(`/sys/class/net/${name}/bridge`)) return true;
    return false;
  };
  return async () => {
    try {
      isFiltered = (await files.exists('/proc/sys/net/bridge')) && (isFiltered || (await hasBridge()));
    } catch {
      // EMFILE: it is read again with the next audit of the addresses
    }
    return isFiltered;
  };
}

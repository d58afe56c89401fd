import type { Family } from '../../core/ip/ip.ts';
import type { Files } from '../../ports/files.ts';

const settings = '/proc/sys/net/bridge';

/** Whether the module br_netfilter is loaded. */
export function hasBridgeFilter(files: Pick<Files, 'exists'>): Promise<boolean> {
  return files.exists(settings);
}

/** Whether this interface is a bridge whose packets br_netfilter passes through the hooks of IP, by a setting of all bridges or its own. */
export async function filtersBridge(
  files: Pick<Files, 'exists' | 'read'>,
  name: string,
  family: Family,
): Promise<boolean> {
  const folder = `/sys/class/net/${name}/bridge`;
  if (!(await files.exists(folder))) return false;
  const of = family === 4 ? 'iptables' : 'ip6tables';
  const values = await Promise.all(
    [`${settings}/bridge-nf-call-${of}`, `${folder}/nf_call_${of}`].map((path) => files.read(path)),
  );
  return values.some((value) => Number(value ?? '0') !== 0);
}

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
      isFiltered = (await hasBridgeFilter(files)) && (isFiltered || (await hasBridge()));
    } catch {
      // EMFILE: it is read again with the next audit of the addresses
    }
    return isFiltered;
  };
}

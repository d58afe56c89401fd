import path from 'node:path';
import type { Site } from './site.ts';

/** Addresses on the LAN of a site, of which its first machine has the first one. */
export function nodeAddresses(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `10.20.0.${11 + index}`);
}

/**
 * The first machine of the site stands for all these nodes: it has their addresses, and answers for the kube-proxy of each, on
 * its own port and on those that Services with `externalTrafficPolicy: Local` have for health checks.
 */
export async function standForNodes(
  { lab }: Pick<Site, 'lab'>,
  addresses: readonly string[],
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  const [machine] = lab.nodes;
  if (machine === undefined) throw new Error('the site has no machine');
  for (const address of addresses.slice(1)) await machine.exec('ip', 'address', 'add', `${address}/24`, 'dev', 'eth0');
  await machine.nft(`table ip health {
  chain nat {
    type nat hook prerouting priority dstnat
    tcp dport 40000-65535 redirect to :10256
  }
}`);
  for (const address of addresses) await lab.balancer.exec('ping', '-c', '1', '-W', '2', address); // resolves its MAC
  const program = path.join(import.meta.dirname, 'hosts', 'kube-proxy.ts');
  const serving = machine.execPort.spawn(process.execPath, [program], signal);
  for await (const line of serving.lines) if (line === 'serving') break;
  return serving;
}

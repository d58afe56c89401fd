import { askAdmin, type HostStatus } from '../daemon/admin.ts';
import { statePaths } from '../daemon/platform.ts';
import { formatTable } from './table.ts';

/** `furiwake status`: what furiwake serves on this host, as text or as the JSON of its admin socket. */
export async function showStatus(stateDir: string, isJson: boolean, signal: AbortSignal): Promise<string> {
  const text = await askAdmin(statePaths(stateDir).adminSocket, 'GET', '/status', '', signal);
  return isJson ? text : formatStatus(JSON.parse(text) as HostStatus);
}

/** `furiwake drain NODE` and `undrain NODE`: what furiwake answers. */
export async function changeDrain(
  stateDir: string,
  verb: 'drain' | 'undrain',
  node: string,
  signal: AbortSignal,
): Promise<string> {
  return askAdmin(statePaths(stateDir).adminSocket, 'POST', `/${verb}`, node, signal);
}

export function formatStatus({
  version,
  pid,
  loadBalancerClass,
  notReady,
  haproxy,
  services,
  nodes,
}: HostStatus): string {
  const proxy =
    haproxy === undefined
      ? 'HAProxy does not answer'
      : `HAProxy ${haproxy.version} (process ${haproxy.pid}), ${haproxy.connections} of ${haproxy.maxConnections} connections`;
  const head = `furiwake ${version} (process ${pid}), class ${loadBalancerClass}: ${notReady.length === 0 ? 'ready' : `not ready: ${notReady.join('; ')}`}\n${proxy}\n`;
  const serviceTable = formatTable(
    ['SERVICE', 'ADDRESSES', 'PORTS', 'NOW', 'TOTAL', 'REASON'],
    services.map((line) => [
      line.service,
      line.addresses.join(',') || '-',
      line.ports.join(',') || '-',
      String(line.connections),
      String(line.total),
      line.reason === 'Assigned' ? line.reason : `${line.reason}: ${line.message}`,
    ]),
    new Set([3, 4]),
  );
  const nodeTable = formatTable(
    ['NODE', 'FAMILY', 'STATE', 'NOW', 'TOTAL'],
    nodes.map((line) => [line.node, `IPv${line.family}`, line.state, String(line.connections), String(line.total)]),
    new Set([3, 4]),
  );
  return `${head}\n${services.length === 0 ? 'No Services.\n' : serviceTable}\n${nodes.length === 0 ? 'No nodes.\n' : nodeTable}`;
}

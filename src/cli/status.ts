import { askAdmin } from '../daemon/admin.ts';
import type { HostStatus, NodeLine, PoolStatus } from '../daemon/host-status.ts';
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

/** The screen of `furiwake status`. */
export function formatStatus(status: HostStatus): string {
  const { services, nodes } = status;
  const serviceTable = formatTable(
    ['SERVICE', 'STATUS', 'ADDRESS', 'PORTS', 'CONN', 'TOTAL', 'AGE', 'DETAIL'],
    services.map((line) => [
      line.service,
      line.status,
      line.addresses.join(',') || '-',
      line.ports.join(',') || '-',
      String(line.connections),
      String(line.total),
      formatDuration(line.ageSeconds),
      line.message,
    ]),
    new Set([4, 5]),
  );
  const nodeTable = formatTable(
    ['NODE', 'FAMILY', 'STATUS', 'CONN', 'TOTAL'],
    nodes.map((line) => [
      line.node,
      `IPv${line.family}`,
      nodeStatus(line),
      String(line.connections),
      String(line.total),
    ]),
    new Set([3, 4]),
  );
  return [
    headOf(status),
    services.length === 0 ? 'No Services.\n' : serviceTable,
    nodes.length === 0 ? 'No nodes.\n' : nodeTable,
  ].join('\n');
}

function headOf({ version, pid, upSeconds, loadBalancerClass, cluster, notReady, haproxy, pool }: HostStatus): string {
  const lines: readonly (readonly [string, string])[] = [
    ['furiwake', `${version}, PID ${pid}, up ${formatDuration(upSeconds)}, class ${loadBalancerClass}`],
    ['status', notReady.length === 0 ? 'ready' : `not ready: ${notReady.join('; ')}`],
    ['cluster', cluster === undefined ? 'not connected yet' : `${cluster.server} (${cluster.kubernetes})`],
    [
      'HAProxy',
      haproxy === undefined
        ? 'does not answer'
        : `${haproxy.version}, PID ${haproxy.pid}, ${haproxy.connections} of at most ${haproxy.maxConnections} connections`,
    ],
    ['pool', pool === undefined ? 'not known yet' : poolWords(pool)],
  ];
  return lines.map(([name, words]) => `${name.padEnd(10)}${words}\n`).join('');
}

const mostLeftOut = 5;

function poolWords({ ranges, size, used, leftOut }: PoolStatus): string {
  const words = `${used} of ${size} addresses used (${ranges.join(', ') || 'none'})`;
  if (leftOut.length === 0) return words;
  const shown = leftOut.slice(0, mostLeftOut).map(({ address, reason }) => `${address} (${reason})`);
  const rest = leftOut.length > mostLeftOut ? [`and ${leftOut.length - mostLeftOut} more`] : [];
  return `${words}; left out: ${[...shown, ...rest].join(', ')}`;
}

function nodeStatus({ state, forSeconds, connections }: NodeLine): string {
  const since = forSeconds === undefined ? '' : ` for ${formatDuration(forSeconds)}`;
  if (state !== 'drain') return `${state}${since}`;
  return connections === 0 ? `drained${since}` : `draining${since} (${connections} left)`;
}

/** As kubectl shows ages: the largest unit, or two where the first is small. */
export function formatDuration(seconds: number): string {
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600), Math.floor(seconds / 60)];
  if (days >= 8) return `${days}d`;
  if (days >= 2) return hours % 24 === 0 ? `${days}d` : `${days}d${hours % 24}h`;
  if (hours >= 8) return `${hours}h`;
  if (hours >= 3) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`;
  if (minutes >= 10) return `${minutes}m`;
  if (minutes >= 2) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  return `${seconds}s`;
}

import { askAdmin } from '../daemon/admin.ts';
import type { ConnectionLine, ConnectionList } from '../daemon/ended-connections.ts';
import { statePaths } from '../daemon/platform.ts';
import type { SocketAddress } from '../ports/proxy.ts';
import { formatDuration, formatFigure, formatTime } from './figures.ts';
import { layoutOf, type TextScreen } from './screen.ts';
import { type Cell, type Column, formatTable } from './table.ts';

export type ConnectionsRequest = {
  readonly stateDir: string;
  /** `NS/NAME`; `undefined`: all. */
  readonly service: string | undefined;
  /** How many at most. */
  readonly last: number;
  readonly isJson: boolean;
};

/** `furiwake connections`: what it writes. Throws `StartError` as `askAdmin` does. */
export async function showConnections(
  { stateDir, service, last, isJson }: ConnectionsRequest,
  screen: TextScreen,
  signal: AbortSignal,
): Promise<string> {
  const query = new URLSearchParams({ last: String(last), ...(service === undefined ? {} : { service }) });
  const answer = await askAdmin(
    statePaths(stateDir).adminSocket,
    'GET',
    `/connections?${query.toString()}`,
    '',
    signal,
  );
  return isJson ? answer : formatConnections(JSON.parse(answer) as ConnectionList, screen);
}

const columns: readonly Column[] = [
  { title: 'TIME' },
  { title: 'CLIENT' },
  { title: 'SERVICE' },
  { title: 'LISTENER' },
  { title: 'SERVER' },
  { title: 'LASTED', align: 'right' },
  { title: 'IN/OUT', align: 'right' },
  { title: 'END' },
];

export function formatConnections({ at, connections, note }: ConnectionList, screen: TextScreen): string {
  const last = note === undefined ? '' : `${note}.\n`;
  if (connections.length === 0)
    return `No connection through HAProxy has ended since it started or was reloaded last. Open ones: furiwake status\n${last}`;
  const rows = connections.map((line): readonly Cell[] => [
    formatTime(line.at, at, screen.timeZone),
    socketText(line.client),
    line.service ?? '-',
    socketText(line),
    serverText(line),
    lasted(line.totalMs),
    `${formatFigure(line.bytesIn)}/${formatFigure(line.bytesOut)}`,
    { text: endText(line), tone: line.end === '--' ? 'plain' : 'warning' },
  ]);
  return formatTable(columns, rows, layoutOf(screen)) + last;
}

function socketText({ address, port }: SocketAddress): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

function serverText({ server, node }: ConnectionLine): string {
  if (server === undefined) return '-';
  return node === undefined ? socketText(server) : `${node}:${server.port}`;
}

function lasted(ms: number): string {
  if (ms < 1_000) return `${ms}ms`;
  return ms < 120_000 ? `${(ms / 1000).toFixed(1)}s` : formatDuration(Math.round(ms / 1000));
}

function endText({ words, retries }: ConnectionLine): string {
  return retries === 0 ? words : `${words}, after ${retries === 1 ? 'another attempt' : `${retries} more attempts`}`;
}

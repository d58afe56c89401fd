import type { ListenerCounters } from '../../../ports/proxy.ts';
import { RuntimeError } from './client.ts';

/*
 * HAProxy's answers as text. JSON would not be easier to read and is much larger: `show stat json` is 18 times the
 * size, which is megabytes each second with hundreds of nodes, and maps, server states and tables have no JSON form.
 */

/** `show info`: the fields that furiwake reads. */
export type ProcessInfo = {
  readonly pid: number;
  readonly version: string;
  readonly description: string;
  readonly connections: number;
  readonly maxConnections: number;
  /** Of its configuration; `maxConnections` can be changed while it runs. */
  readonly hardMaxConnections: number;
  /** Since the worker started. */
  readonly upSeconds: number;
  /** It was replaced, or is to end with its last connection. */
  readonly isStopping: boolean;
};

/** Reads `show info`; throws {@link RuntimeError} if the answer has another form. */
export function parseInfo(answer: string): ProcessInfo {
  // Read each second, when few of its eighty fields are needed.
  const field = (name: string): string | undefined => {
    const start = answer.startsWith(`${name}: `) ? 0 : answer.indexOf(`\n${name}: `) + 1;
    if (start === 0 && !answer.startsWith(`${name}: `)) return undefined;
    const end = answer.indexOf('\n', start);
    return answer.slice(start + name.length + 2, end < 0 ? undefined : end);
  };
  const pid = Number(field('Pid'));
  if (!Number.isInteger(pid)) throw new RuntimeError('broken', 'no process id in "show info"');
  return {
    pid,
    version: field('Version') ?? '',
    description: field('description') ?? '',
    connections: Number(field('CurrConns') ?? 0),
    maxConnections: Number(field('Maxconn') ?? 0),
    hardMaxConnections: Number(field('Hard_maxconn') ?? field('Maxconn') ?? 0),
    upSeconds: Number(field('Uptime_sec') ?? 0),
    isStopping: field('Stopping') === '1',
  };
}

/** One server of `show stat`, or a backend with the name `BACKEND`. */
export type ServerStat = {
  readonly backend: string;
  readonly server: string;
  /** Without brackets and port; empty if HAProxy does not report it. */
  readonly address: string;
  /** `UP`, `UP 1/2`, `DOWN`, `DRAIN`, `MAINT`, `no check`, … */
  readonly status: string;
  /** `L7OK`, `L4TOUT`, …; `* ` before it: another check is under way. */
  readonly checkStatus: string;
  /** Of a failed check: the system's error message, or the HTTP reason. */
  readonly lastCheck: string;
  readonly connections: number;
  readonly total: number;
  /** Connections that wait for it; in the line of a backend, for any of its servers. */
  readonly queued: number;
  /** Attempts to connect to it that failed, and connections that it broke off. */
  readonly errors: number;
};

/** Reads `show stat` by its header, because columns differ between versions. */
export function parseStat(answer: string): readonly ServerStat[] {
  return rowsOf(answer.split('\n'), splitCsv).map((cell) => ({
    backend: cell('pxname'),
    server: cell('svname'),
    address: cell('addr')
      .replace(/:\d+$/, '')
      .replace(/^\[(.*)\]$/, '$1'),
    status: cell('status'),
    checkStatus: cell('check_status'),
    lastCheck: cell('last_chk'),
    connections: Number(cell('scur')),
    total: Number(cell('stot')),
    queued: Number(cell('qcur')),
    errors: Number(cell('econ')) + Number(cell('eresp')),
  }));
}

/** Reads `show stat` of one frontend: `OPEN`, `PAUSED`, `STOP`. */
export function parseFrontend(
  answer: string,
): { readonly status: string; readonly maxConnections: number } | undefined {
  const row = rowsOf(answer.split('\n'), splitCsv).find((cell) => cell('svname') === 'FRONTEND');
  return row && { status: row('status'), maxConnections: Number(row('slim')) };
}

/** The lines below a header `# name name …`, each as a function from the name of a column to its cell. */
function rowsOf(
  [header = '', ...lines]: readonly string[],
  split: (line: string) => readonly string[],
): readonly ((name: string) => string)[] {
  const names = split(header.replace(/^# /, ''));
  const columns = new Map<string, number>(); // of those that are read
  return lines.map((line) => {
    const cells = split(line);
    return (name) => {
      const column = columns.get(name) ?? names.indexOf(name);
      columns.set(name, column);
      return cells[column] ?? '';
    };
  });
}

/** RFC 4180: a cell with a comma or a quote is quoted, with its quotes doubled. */
function splitCsv(line: string): readonly string[] {
  const parts = line.split(',');
  if (!line.includes('"')) return parts;
  const cells: string[] = [];
  let open: string | undefined;
  for (const part of parts) {
    const cell = open === undefined ? part : `${open},${part}`;
    const isQuoted = cell.startsWith('"');
    open = isQuoted && cell.split('"').length % 2 === 0 ? cell : undefined;
    if (open === undefined) cells.push(isQuoted ? cell.slice(1, -1).replaceAll('""', '"') : cell);
  }
  return cells;
}

/** One row of the stick-table of listeners; its key is `VIP|port`. */
export type CounterRow = ListenerCounters & { readonly key: string };

/** The field of a row, after its name and `=`; empty if it has none. */
function fieldOf(line: string, name: string): string {
  const at = line.indexOf(` ${name}=`);
  if (at < 0) return '';
  const begin = at + name.length + 2;
  const end = line.indexOf(' ', begin);
  return line.slice(begin, end < 0 ? undefined : end);
}

/** Reads `show table`: after its header, `address: key=… conn_cnt=…` in no fixed order. */
export function parseTable(answer: string): readonly CounterRow[] {
  return answer.split('\n').flatMap((line) => {
    if (!line.startsWith('0x')) return [];
    return {
      key: fieldOf(line, 'key'),
      connections: Number(fieldOf(line, 'conn_cur')),
      total: Number(fieldOf(line, 'conn_cnt')),
      bytesIn: Number(fieldOf(line, 'bytes_in_cnt')),
      bytesOut: Number(fieldOf(line, 'bytes_out_cnt')),
      refused: Number(fieldOf(line, 'gpc0')),
    };
  });
}

/** A client of a table of affinity. `server`: its name, once the client has come; until then only its number is known. */
export type AffinityRow = { readonly key: string; readonly server: string | undefined; readonly number: number };

/** Reads `show table` of a table of affinity: `address: key=… server_id=1 server_key=NAME`, or `server_key=-`. */
export function parseAffinity(answer: string): readonly AffinityRow[] {
  return answer.split('\n').flatMap((line) => {
    const key = fieldOf(line, 'key');
    const server = fieldOf(line, 'server_key');
    if (key === '') return [];
    return {
      key,
      server: server === '-' || server === '' ? undefined : server,
      number: Number(fieldOf(line, 'server_id')),
    };
  });
}

/** Reads `show servers state`: the number of each server, by `backend/server`. */
export function parseServerIds(answer: string): readonly (readonly [id: string, number: number])[] {
  const [, ...lines] = answer.split('\n');
  return rowsOf(lines, (line) => line.split(' ')).map((cell) => [
    `${cell('be_name')}/${cell('srv_name')}`,
    Number(cell('srv_id')),
  ]);
}

/** Reads `show map`, the list of all maps: the name of furiwake's, `/run/…/services.map`; empty if there is none. */
export function parseMapName(answer: string): string {
  return /^\d+ \((\/.*\/services\.map)\) /m.exec(answer)?.[1] ?? '';
}

/** The number of entries of furiwake's map in the list of all maps; `undefined` if there is none. */
export function parseMapSize(answer: string): number | undefined {
  const [, count] = /^\d+ \(\/.*\/services\.map\) .* entry_cnt=(\d+)$/m.exec(answer) ?? [];
  return count === undefined ? undefined : Number(count);
}

/** Reads `show map`: `address key value`. */
export function parseMap(answer: string): Map<string, string> {
  const entries = new Map<string, string>();
  for (const line of answer.split('\n')) {
    const [, key, value] = line.split(' ');
    // Of two entries with the same key the first is in force.
    if (key !== undefined && value !== undefined && !entries.has(key)) entries.set(key, value);
  }
  return entries;
}

/** Reads `show backend`: after its header, a name per line. */
export function parseBackends(answer: string): ReadonlySet<string> {
  return new Set(answer.split('\n').filter((line) => line !== '' && !line.startsWith('#')));
}

/** One server of `show servers state`. */
export type ServerLine = {
  readonly backend: string;
  readonly server: string;
  readonly address: string;
  /** 0: the port of the connection counts. */
  readonly port: number;
  /** As set by command or by `disabled`: in maintenance (`maint`) a server is not checked. */
  readonly admin: 'ready' | 'drain' | 'maint';
  /** Its health check is enabled. */
  readonly isChecked: boolean;
  /** 0: none of its own. */
  readonly checkPort: number;
  /** `undefined`: none of its own. */
  readonly checkAddress: string | undefined;
  readonly weight: number;
};

/** The same, as it is now. `isUp`: by its check, by that of the server that it tracks, or as the last command said. */
export type ServerNow = ServerLine & { readonly isUp: boolean };

const forcedMaint = 0x01; // SRV_ADMF_FMAINT
const forcedDrain = 0x08; // SRV_ADMF_FDRAIN
const checkEnabled = 0x04; // CHK_ST_ENABLED

/** Reads `show servers state` (format version 1) by its header. */
export function parseServersState(answer: string): readonly ServerNow[] {
  const [, ...lines] = answer.split('\n');
  return rowsOf(lines, (line) => line.split(' ')).map((cell) => {
    const flags = Number(cell('srv_admin_state'));
    return {
      backend: cell('be_name'),
      server: cell('srv_name'),
      address: cell('srv_addr'),
      port: Number(cell('srv_port')),
      admin: flags & forcedMaint ? 'maint' : flags & forcedDrain ? 'drain' : 'ready',
      isChecked: (Number(cell('srv_check_state')) & checkEnabled) !== 0,
      checkPort: Number(cell('srv_check_port')),
      checkAddress: cell('srv_check_addr').replace(/^-$/, '') || undefined,
      weight: Number(cell('srv_uweight')),
      isUp: cell('srv_op_state') !== '0', // SRV_ST_STOPPED
    };
  });
}

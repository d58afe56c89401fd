import { createHash } from 'node:crypto';
import { families } from '../../../core/ip/ip.ts';
import { nodesBackend } from '../../../core/traffic/table.ts';
import { connectionRing, ringFormat, syslogFormat } from './connection-log.ts';
import { checkOptions, nodeServerLine, type Servers } from './node-servers.ts';

/**
 * Port on both loopback addresses where HAProxy accepts the connections; privileged, so that no local user can bind it.
 */
export const listenPort = 292;

/** The settings that are fixed for the lifetime of a HAProxy process. */
export type Settings = {
  /** The folder of all files of HAProxy: see {@link pathsIn}. */
  readonly folder: string;
  /** Connection limit of the whole process; two descriptors each. */
  readonly maxConnections: number;
  /** How long a connection may be idle in both directions. */
  readonly idleTimeoutSeconds: number;
  /** A syslog server, which gets a line for each connection over UDP, like the ring buffer. */
  readonly connectionLog?: { readonly host: string; readonly port: number } | undefined;
  /** False on a kernel without IPv6, where HAProxy cannot bind its loopback address. */
  readonly hasIpv6: boolean;
  /** The account of the workers after the start (the master stays root for reloads); `undefined`: they stay root. */
  readonly account: { readonly uid: number; readonly gid: number } | undefined;
};

export type Paths = {
  readonly config: string;
  /** A new configuration that HAProxy has not checked yet. */
  readonly candidate: string;
  readonly map: string;
  readonly pid: string;
  readonly workerSocket: string;
  readonly masterSocket: string;
  /** A listener on which the worker itself answers HTTP requests, as proof that it runs. */
  readonly monitorSocket: string;
  /** The empty root directory of the workers. */
  readonly emptyFolder: string;
};

/**
 * The files in `folder`. Throws `RangeError` if HAProxy could not use them: it binds a socket with a temporary name
 * that is ten characters longer (97 bytes remain of the kernel's 107), and blanks, commas or quotes would end a word of
 * the configuration or of a runtime command.
 */
export function pathsIn(folder: string): Paths {
  const paths: Paths = {
    config: `${folder}/haproxy.cfg`,
    candidate: `${folder}/candidate.cfg`,
    map: `${folder}/services.map`,
    pid: `${folder}/haproxy.pid`,
    workerSocket: `${folder}/worker.sock`,
    masterSocket: `${folder}/master.sock`,
    monitorSocket: `${folder}/alive.sock`,
    emptyFolder: `${folder}/empty`,
  };
  if (!/^\/[\w./-]*$/.test(folder))
    throw new RangeError(`the folder ${JSON.stringify(folder)} must be absolute, of letters, digits and _ . / - only`);
  if (paths.masterSocket.length > 97) throw new RangeError(`the folder ${folder} is too long for a unix socket in it`);
  return paths;
}

/**
 * The connection limit of a process with this descriptor limit: two descriptors each, after a reserve for listeners,
 * sockets and running health checks (one for each node, if all are silent).
 */
export function connectionLimit(descriptorLimit: number): number {
  const reserve = Math.min(2200, Math.floor(descriptorLimit / 4));
  return Math.min(500_000, Math.floor((descriptorLimit - reserve) / 2));
}

/**
 * The identity of the program of a process: a hash of the configuration without its servers. With more spare backends it is
 * another program.
 */
export type ProgramId = string;

export function programId(settings: Settings, emptySpares: readonly string[]): ProgramId {
  return hashOf(render(settings, undefined, emptySpares, ''));
}

function hashOf(program: string): ProgramId {
  return createHash('sha256')
    .update(program + checkOptions)
    .digest('hex')
    .slice(0, 16);
}

/** Whether a configuration with the program `id` was edited: it is another one, apart from its servers. */
export function isEdited(config: string, id: ProgramId): boolean {
  const program = config.replaceAll(/^ {4}server .*\n/gm, '').replace(/^( {4}description ").*(")$/m, '$1$2');
  return parseDescription(descriptionIn(config)) === id && id !== hashOf(program);
}

/** The `description` of a configuration. */
export function descriptionIn(config: string): string {
  return /^ {4}description "(.*)"$/m.exec(config)?.[1] ?? '';
}

/** The `description` of a process in `show info`, from which a later furiwake recognises the program. */
export function descriptionOf(id: ProgramId): string {
  return `furiwake ${id}`;
}

/**
 * The program in a `description`; `undefined`: not one whose port and entries are as here, as in release 0.1.0, which adds a second
 * word. A change of {@link listenPort}, or of the meaning of a field of the entries, needs another first word; further fields do not:
 * a program without them ignores them.
 */
export function parseDescription(description: string): ProgramId | undefined {
  return /^furiwake ([0-9a-f]{16})$/.exec(description)?.[1];
}

/**
 * HAProxy's configuration: a fixed program in which only the servers change, at run time. A listener is an entry of the
 * map file and never a line here.
 *
 *   entry   192.0.2.51|80 → nodes4|30692|4000|1f0e…     backend | target port | most connections of its Service as annotated |
 *                                                        which Service that is, then the other limits if it has any limit
 */
export function renderConfig(
  settings: Settings,
  id: ProgramId,
  servers: Servers,
  /** The sections of the spare backends. */
  spares: readonly string[],
): string {
  return render(settings, servers, spares, descriptionOf(id));
}

/** The rest is for `alive`, which must answer even if all connections are in use. */
export function connectionsForServices(maxConnections: number): number {
  return maxConnections - Math.min(8, Math.floor(maxConnections / 4));
}

function render(
  settings: Settings,
  servers: Servers | undefined,
  spares: readonly string[],
  description: string,
): string {
  const paths = pathsIn(settings.folder);
  const { account, connectionLog, idleTimeoutSeconds: idle, maxConnections } = settings;
  const logLine = (target: string, format: string): string =>
    `    log ${target} len ${connectionRing.lineBytes} format ${format} local0 info`;
  const forServices = connectionsForServices(maxConnections);
  return [
    '# Written by furiwake, which overwrites changes. Listeners are entries of services.map, changed at run time.',
    'global',
    `    description "${description}"`,
    `    maxconn ${maxConnections}`,
    // HAProxy would reserve two descriptors for each node's check and refuse to start; see `connectionLimit`.
    '    no strict-limits',
    '    tune.bufsize 16384',
    `    stats socket ${paths.workerSocket} mode 600 level admin`,
    '    stats timeout 24h',
    // The workers open no file after the start: maps change in memory, and sockets are bound while they are root.
    `    chroot ${paths.emptyFolder}`,
    '    log-send-hostname',
    ...(account === undefined ? [] : [`    uid ${account.uid}`, `    gid ${account.gid}`]),
    '',
    'defaults',
    '    mode tcp',
    '    timeout connect 500ms',
    '    timeout check 1s',
    // In HTTP mode, of a client that is slow to send a request, or sends no further one.
    '    timeout http-request 10s',
    '    timeout http-keep-alive 60s',
    // A connection beyond the limit of its server waits as long.
    '    timeout queue 30s',
    `    timeout client ${idle}s`,
    `    timeout server ${idle}s`,
    `    timeout tunnel ${idle}s`,
    // A silent node delays a connection by half a second; then HAProxy tries another node, because no data was sent
    // yet.
    '    retries 3',
    '    option redispatch 1',
    // Counts the bytes of a connection every five seconds, and not only when it ends.
    '    option contstats',
    // Ends connections whose peer has vanished after about four minutes instead of the idle timeout. The number of probes is the
    // kernel's 9, so that a few lost ones end none: each setting is a system call for each connection.
    '    option tcpka',
    '    clitcpka-idle 120s',
    '    clitcpka-intvl 15s',
    '    srvtcpka-idle 120s',
    '    srvtcpka-intvl 15s',
    '',
    `ring ${connectionRing.name}`,
    '    format raw',
    `    maxlen ${connectionRing.lineBytes}`,
    `    size ${connectionRing.bytes}`,
    '',
    'frontend services',
    logLine(`ring@${connectionRing.name}`, 'raw'),
    ...(connectionLog === undefined ? [] : [logLine(`[${connectionLog.host}]:${connectionLog.port}`, 'rfc5424')]),
    `    log-format "${connectionLog === undefined ? ringFormat : syslogFormat}"`,
    `    maxconn ${forServices}`,
    `    bind 127.0.0.1:${listenPort} transparent`,
    ...(settings.hasIpv6 ? [`    bind ::1:${listenPort} transparent v6only`] : []),
    // All decisions are made when the connection is accepted, before a byte is read, because in some protocols the
    // server speaks first.
    '    tcp-request connection set-var(sess.port) dst_port',
    '    tcp-request connection set-var(sess.listener) dst,concat(|,sess.port)',
    `    tcp-request connection set-var(sess.row) var(sess.listener),map_str(${paths.map})`,
    '    tcp-request connection reject if !{ var(sess.row) -m found }',
    '    tcp-request connection track-sc0 var(sess.listener) table services',
    // Limits apply to all listeners of a Service together, whatever its number of ports and families.
    '    tcp-request connection track-sc1 var(sess.row),field(4,|) table caps',
    '    tcp-request connection set-dst-port var(sess.row),field(2,|)',
    // Nothing can refuse most connections: their Service has no limits, and half of all connections are free.
    '    tcp-request connection set-var(sess.limits) var(sess.row),field(5,|,0)',
    '    acl is_limited var(sess.limits) -m found',
    `    acl is_crowded fe_conn gt ${Math.floor(forServices / 2)}`,
    '    tcp-request connection accept if !is_limited !is_crowded',
    // Without limits the row ends there, these variables do not exist, and no condition on them is true. They are numbers here, so
    // that no condition converts them again.
    '    tcp-request connection set-var(sess.cap) var(sess.row),field(3,|),add(0)',
    '    tcp-request connection set-var(sess.rate) var(sess.limits),field(1,|),add(0)',
    '    tcp-request connection set-var(sess.client_cap) var(sess.limits),field(2,|),add(0)',
    '    tcp-request connection set-var(sess.client_rate) var(sess.limits),field(3,|),add(0)',
    // A client is an address, for IPv6 its /64: the smallest network that a client gets.
    '    tcp-request connection set-var(sess.client) src,ipmask(32,64),hex',
    '    tcp-request connection track-sc2 var(sess.row),field(4,|),concat(|,sess.client) table clients if { var(sess.client_cap) -m found }',
    '    tcp-request connection set-var(sess.count) sc_conn_cur(1) if is_crowded',
    '    acl is_refused sc_conn_cur(1),sub(sess.cap) gt 0',
    // A Service may have as many connections as are free: one alone takes half of all, two a third each, n leave 1/(n+1). So no
    // number of Services at this limit takes the last connection from the others.
    `    acl is_refused fe_conn,add(sess.count) gt ${forServices}`,
    '    acl is_refused sc_gpc0_rate(1),sub(sess.rate) ge 0',
    '    acl is_refused sc_conn_cur(2),sub(sess.client_cap) gt 0',
    '    acl is_refused sc_gpc0_rate(2),sub(sess.client_rate) ge 0',
    '    tcp-request connection set-var(sess.refused) int(1) if is_refused',
    '    tcp-request connection sc-inc-gpc0(0) if { var(sess.refused) -m found }',
    '    tcp-request connection reject if { var(sess.refused) -m found }',
    // Only accepted connections count for the rates: else clients that do not slow down would all be refused.
    '    tcp-request connection sc-inc-gpc0(1)',
    '    tcp-request connection sc-inc-gpc0(2)',
    '    use_backend %[var(sess.row),field(1,|)]',
    '',
    '# Answers by itself as long as the process runs, also while its command socket is slow.',
    'frontend alive',
    '    mode http',
    '    timeout client 5s',
    `    bind unix@${paths.monitorSocket} mode 600`,
    '    monitor-uri /',
    '',
    '# Counters per listener; gpc0 counts the refused connections.',
    'backend services',
    '    stick-table type string len 64 size 200k store conn_cnt,conn_cur,bytes_in_cnt,bytes_out_cnt,gpc0',
    '',
    '# Connections per Service at this moment, for the cap; gpc0 counts the accepted ones, for the rate.',
    'backend caps',
    '    stick-table type string len 16 size 200k expire 1h store conn_cur,gpc0,gpc0_rate(1s)',
    '',
    '# The same per client, of Services with such a limit. When it is full, the client that was unused longest is forgotten.',
    'backend clients',
    '    stick-table type string len 64 size 100k expire 1m store conn_cur,gpc0,gpc0_rate(1s)',
    ...families.flatMap((family) => [
      '',
      `backend ${nodesBackend(family)}`,
      '    balance roundrobin',
      '    option httpchk GET /healthz',
      '    http-check expect status 200',
      ...(servers?.[family] ?? []).map(nodeServerLine),
    ]),
    ...spares,
    '',
  ].join('\n');
}

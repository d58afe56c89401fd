import { createHash } from 'node:crypto';
import type { Family } from '../../core/ip/ip.ts';
import { formatLayout, type Layout, slotsOf } from './layout.ts';
import { pathsIn, type Settings } from './settings.ts';
import { checkOptions, nodeServerLine, nodesBackend, slotServerLine, type Servers } from './servers.ts';

/** What a running process says of itself (`show info`): which program it runs, with which slots. */
export type Identity = { readonly hash: string; readonly layout: string };

/** The program is all but the servers, and the form that those have. */
export function identityOf(settings: Settings, layout: Layout): Identity {
  const program = render(settings, layout, undefined, '') + checkOptions;
  return { hash: createHash('sha256').update(program).digest('hex').slice(0, 16), layout: formatLayout(layout) };
}

export function formatIdentity(identity: Identity): string {
  return `furiwake ${identity.hash} ${identity.layout}`;
}

/** The identity in a `description`, or `undefined` when it is not one of ours. */
export function parseIdentity(description: string): Identity | undefined {
  const [, hash, layout] = /^furiwake ([0-9a-f]{16}) (\S+)$/.exec(description) ?? [];
  return hash === undefined || layout === undefined ? undefined : { hash, layout };
}

/**
 * HAProxy's configuration: a fixed program, of which only the servers change, and they at run time. A Service is a row
 * of the map file and never a line here.
 *
 *   row   192.0.2.51|80 → nodes4|30692|4000|1f0e…     backend | nodePort, or 0 to keep the port | most connections at
 *                                                      once of its Service | which Service that is
 */
export function renderConfig(settings: Settings, layout: Layout, servers: Servers): string {
  return render(settings, layout, servers, formatIdentity(identityOf(settings, layout)));
}

function render(settings: Settings, layout: Layout, servers: Servers | undefined, description: string): string {
  const paths = pathsIn(settings.folder);
  const { account, idleTimeoutSeconds: idle, listenPort } = settings;
  const nodes = (family: Family): string[] => (servers?.nodes[family] ?? []).map(nodeServerLine);
  const lines = [
    '# Written by furiwake, which overwrites changes. Services are rows of services.map, changed at run time.',
    'global',
    `    description "${description}"`,
    `    maxconn ${settings.maxConnections}`,
    // It counts two descriptors for each node's check and would refuse to start for their sake; see `connectionLimit`.
    '    no strict-limits',
    '    tune.bufsize 16384',
    `    stats socket ${paths.workerSocket} mode 600 level admin`,
    '    stats timeout 24h',
    ...(account === undefined ? [] : [`    uid ${account.uid}`, `    gid ${account.gid}`]),
    '',
    'defaults',
    '    mode tcp',
    '    timeout connect 500ms',
    '    timeout check 1s',
    `    timeout client ${idle}s`,
    `    timeout server ${idle}s`,
    `    timeout tunnel ${idle}s`,
    // A silent node costs a connection half a second, then another node is tried: nothing was sent yet.
    '    retries 3',
    '    option redispatch 1',
    // Ends connections whose peer has vanished after some four minutes instead of the idle timeout.
    '    option tcpka',
    '    clitcpka-idle 120s',
    '    clitcpka-intvl 30s',
    '    clitcpka-cnt 4',
    '    srvtcpka-idle 120s',
    '    srvtcpka-intvl 30s',
    '    srvtcpka-cnt 4',
    '',
    'frontend services',
    `    bind 127.0.0.1:${listenPort} transparent`,
    ...(settings.hasIpv6 ? [`    bind ::1:${listenPort} transparent v6only`] : []),
    // Everything is decided when the connection comes, before a byte is read: protocols where the server speaks first.
    '    tcp-request connection set-var-fmt(sess.listener) %[dst]|%[dst_port]',
    `    tcp-request connection set-var(sess.row) var(sess.listener),map_str(${paths.map})`,
    '    tcp-request connection reject if !{ var(sess.row) -m found }',
    '    tcp-request connection track-sc0 var(sess.listener) table services',
    // The cap is one for all listeners of a Service, whatever number of ports and families it has.
    '    tcp-request connection track-sc1 var(sess.row),field(4,|) table caps',
    '    tcp-request connection set-var(sess.cap) var(sess.row),field(3,|)',
    '    tcp-request connection reject if { sc_conn_cur(1),sub(sess.cap) gt 0 }',
    // Not for backends of their own: it would also change the destination in a PROXY header.
    '    tcp-request connection set-dst-port var(sess.row),field(2,|) if !{ var(sess.row),field(2,|) -m int 0 }',
    '    use_backend %[var(sess.row),field(1,|)]',
    '',
    '# Counters per listener.',
    'backend services',
    '    stick-table type string len 64 size 200k store conn_cnt,conn_cur,bytes_in_cnt,bytes_out_cnt',
    '',
    '# Connections per Service at this moment, for the cap.',
    'backend caps',
    '    stick-table type string len 16 size 200k expire 1h store conn_cur',
    ...([4, 6] as const).flatMap((family) => [
      '',
      `backend ${nodesBackend(family)}`,
      '    balance roundrobin',
      '    option httpchk GET /healthz',
      '    http-check expect status 200',
      ...nodes(family),
    ]),
    ...[...slotsOf(layout)].flatMap(({ name, profile }) => [
      '',
      `backend ${name}`,
      `    balance ${profile.algorithm}`,
      // Dynamic servers need a consistent hash.
      ...(profile.algorithm === 'source' ? ['    hash-type consistent'] : []),
      ...(servers?.slots.get(name) ?? []).map((server) => slotServerLine(server, profile)),
    ]),
    '',
  ];
  return lines.join('\n');
}

import * as z from 'zod';
import { parseIp } from '../core/ip/ip.ts';
import type { Ip } from '../core/ip/ip.ts';
import type { IpRange } from '../core/ip/range.ts';
import { formatRange, parseRange } from '../core/ip/range.ts';
import type { ListenerKey, NodeName, ServiceKey } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { listenerKey, type Row, type Server, tableOf, type TrafficTable } from '../core/traffic/table.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';

/**
 * The last table, on disk: what a host serves after a reboot while the API server is out of reach. One JSON object a
 * line: first the nodes, then a row each.
 */
export type TableFile = {
  read(): Promise<TrafficTable | undefined>;
  write(table: TrafficTable): Promise<void>;
};

export function makeTableFile({
  path,
  files,
  log,
}: {
  readonly path: string;
  readonly files: Files;
  readonly log: Log;
}): TableFile {
  const textOf = PersistentMap.makeText<ListenerKey, Row>((row) =>
    row.backend.kind === 'nodes' ? `${JSON.stringify(encodeRow(row))}\n` : '',
  );
  return {
    write: ({ nodes, rows }) => {
      const [nodes4, nodes6] = [nodes[4].map(encodeServer), nodes[6].map(encodeServer)];
      return files.write(path, `${JSON.stringify({ version: 1, nodes4, nodes6 })}\n${textOf(rows)}`);
    },
    read: async () => {
      const text = await files.read(path);
      if (text === undefined) return undefined;
      try {
        return decodeTable(text);
      } catch (error) {
        log.warn(
          { err: error, path },
          'the saved table cannot be read; nothing is restored before the API server answers',
        );
        return undefined;
      }
    },
  };
}

const ipText = z.string().transform((text, context): Ip => {
  const ip = parseIp(text);
  if (ip !== undefined) return ip;
  context.addIssue({ code: 'custom', message: 'no IP address' });
  return z.NEVER;
});
const rangeText = z.string().transform((text, context): IpRange => {
  const range = parseRange(text);
  if (range !== undefined) return range;
  context.addIssue({ code: 'custom', message: 'no address range' });
  return z.NEVER;
});
const port = z.int().min(1).max(65_535);
const serverSchema = z.object({ node: z.string(), address: ipText, state: z.enum(['active', 'drain']) });
const nodesSchema = z.object({ version: z.literal(1), nodes4: z.array(serverSchema), nodes6: z.array(serverSchema) });
const rowSchema = z.object({
  service: z.string(),
  address: ipText,
  port,
  nodePort: port,
  sourceRanges: z.array(rangeText).optional(),
  maxConnections: z.int().min(1).optional(),
});

function encodeServer({ node, address, state }: Server): object {
  return { node, address: address.text, state };
}

/** Rows with servers of their own are not saved: their Pods or nodes may be others after a reboot. */
function encodeRow(row: Row): object {
  return {
    service: row.service,
    address: row.address.text,
    port: row.port,
    nodePort: row.backend.kind === 'nodes' ? row.backend.nodePort : 0,
    sourceRanges: row.sourceRanges?.map(formatRange),
    maxConnections: row.maxConnections,
  };
}

function decodeTable(text: string): TrafficTable {
  const [first = '', ...rest] = text.trimEnd().split('\n');
  const nodes = nodesSchema.parse(JSON.parse(first));
  const rows = rest.map((line): Row => {
    const saved = rowSchema.parse(JSON.parse(line));
    return {
      key: listenerKey(saved.address, saved.port, 'TCP'),
      service: saved.service as ServiceKey,
      address: saved.address,
      protocol: 'TCP',
      port: saved.port,
      backend: { kind: 'nodes', family: saved.address.family, nodePort: saved.nodePort },
      sourceRanges: saved.sourceRanges,
      maxConnections: saved.maxConnections,
    };
  });
  const serversOf = (servers: z.infer<typeof serverSchema>[]): Server[] =>
    servers.map((server) => ({ ...server, node: server.node as NodeName }));
  return tableOf(rows, { 4: serversOf(nodes.nodes4), 6: serversOf(nodes.nodes6) });
}

import * as z from 'zod';
import { parseIp } from '../core/ip/ip.ts';
import type { Ip } from '../core/ip/ip.ts';
import type { IpRange } from '../core/ip/range.ts';
import { formatRange, parseRange } from '../core/ip/range.ts';
import type { ListenerKey, NodeName, ServiceKey } from '../core/model/names.ts';
import { listenerKey, type Row, type Server, tableOf, type TrafficTable } from '../core/traffic/table.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { makeMapFile } from './map-file.ts';

/** The last table, on disk: what a host serves after a reboot while the API server is out of reach. */
export type TableFile = {
  /** `undefined` when there is none, or none that can be read: then it is logged. */
  read(): Promise<TrafficTable | undefined>;
  write(table: TrafficTable): Promise<void>;
};

export type TableFileDeps = {
  /** Where its rows and where its nodes are. */
  readonly rowsPath: string;
  readonly nodesPath: string;
  readonly files: Files;
  readonly log: Log;
};

export function makeTableFile({ rowsPath, nodesPath, files, log }: TableFileDeps): TableFile {
  const rowFile = makeMapFile<ListenerKey, Row>({ path: rowsPath, files, encode: encodeRow, decode: decodeRow });
  let nodesWritten: TrafficTable['nodes'] | undefined;
  return {
    write: async ({ rows, nodes }) => {
      if (nodes !== nodesWritten) {
        nodesWritten = undefined; // until it is
        await files.write(nodesPath, encodeNodes(nodes));
        nodesWritten = nodes;
      }
      await rowFile.write(rows);
    },
    read: async () => {
      try {
        const nodes = await files.read(nodesPath);
        const rows = await rowFile.read();
        return nodes === undefined || rows === undefined ? undefined : tableOf([...rows.values()], decodeNodes(nodes));
      } catch (error) {
        log.warn({ err: error }, 'the saved table cannot be read; nothing is restored before the API server answers');
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
const nodesSchema = z.object({ version: z.literal(1), 4: z.array(serverSchema), 6: z.array(serverSchema) });
const rowSchema = z.object({
  service: z.string(),
  address: ipText,
  port,
  nodePort: port,
  sourceRanges: z.array(rangeText).optional(),
  maxConnections: z.int().min(1).optional(),
});

function encodeNodes(nodes: TrafficTable['nodes']): string {
  const serversOf = (servers: readonly Server[]): readonly object[] =>
    servers.map(({ node, address, state }) => ({ node, address: address.text, state }));
  return `${JSON.stringify({ version: 1, 4: serversOf(nodes[4]), 6: serversOf(nodes[6]) })}\n`;
}

function decodeNodes(text: string): TrafficTable['nodes'] {
  const saved = nodesSchema.parse(JSON.parse(text));
  const serversOf = (servers: z.infer<typeof serverSchema>[]): Server[] =>
    servers.map((server) => ({ ...server, node: server.node as NodeName }));
  return { 4: serversOf(saved[4]), 6: serversOf(saved[6]) };
}

/** Rows with servers of their own are not saved: their Pods or nodes may be others after a reboot. */
function encodeRow(row: Row): object | undefined {
  if (row.backend.kind !== 'nodes') return undefined;
  return {
    service: row.service,
    address: row.address.text,
    port: row.port,
    nodePort: row.backend.nodePort,
    sourceRanges: row.sourceRanges?.map(formatRange),
    maxConnections: row.maxConnections,
  };
}

function decodeRow(fields: unknown): readonly [ListenerKey, Row] {
  const { service, nodePort, ...saved } = rowSchema.parse(fields);
  const key = listenerKey(saved.address, saved.port, 'TCP');
  return [
    key,
    {
      ...saved,
      key,
      service: service as ServiceKey,
      protocol: 'TCP',
      backend: { kind: 'nodes', family: saved.address.family, nodePort },
      sourceRanges: saved.sourceRanges,
      maxConnections: saved.maxConnections,
    },
  ];
}

import * as z from 'zod';
import { formatRange } from '../core/ip/range.ts';
import type { BackendId, ListenerKey, NodeName, ServiceKey, ServiceUid } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { dataplanes, standIns } from '../core/traffic/dataplane.ts';
import { balances, checkPathPattern, type ListenerOptions, modes } from '../core/traffic/options.ts';
import {
  type Backend,
  type Listener,
  type PodBackend,
  emptyTable,
  nodesBackend,
  nodesBackends,
  type TrafficNode,
  type TrafficTable,
} from '../core/traffic/table.ts';
import { makeListener } from '../core/traffic/make-listener.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { ipText, port, rangeText } from './decoders.ts';
import { makeMapFile } from './map-file.ts';
import { readEarlierUids } from './earlier-uids.ts';
import { decodeNode, encodeNode, readEarlierNodes } from './saved-nodes.ts';
import { fileVersions } from './file-versions.ts';

/** The last table, on disk: a host serves it after a reboot while the API server is unreachable. */
export type TableFile = {
  /** `undefined` when there is none. Throws `NewerFileError`. */
  read(): Promise<TrafficTable | undefined>;
  write(table: TrafficTable): Promise<void>;
};

export type TableFileDeps = {
  readonly paths: Readonly<Record<'listeners' | 'nodes' | 'backends' | 'withoutEndpoints' | 'ledger', string>>;
  /** Of release 0.1.0. */
  readonly earlier: Readonly<Record<'rows' | 'nodes' | 'records', string>>;
  /** Addresses that furiwake added to this host: any other address of a row of release 0.1.0 was the host's own. */
  readonly placed: () => Promise<ReadonlyMap<string, unknown>>;
  readonly files: Files;
  readonly log: Log;
};

const unserved = 'the last table is not restored; furiwake waits for the API server';

export function makeTableFile({ paths, earlier, placed: readPlaced, files, log }: TableFileDeps): TableFile {
  let placed: ReadonlyMap<string, unknown> = new Map();
  let uids: ReadonlyMap<ServiceKey, ServiceUid> = new Map();
  const listenerFile = makeMapFile<ListenerKey, Listener>({
    path: paths.listeners,
    name: 'listeners',
    version: fileVersions.listeners,
    files,
    log,
    without: unserved,
    isWhole: true,
    encode: encodeListener,
    decode: decodeListener,
    earlier: { path: earlier.rows, decode: (fields) => decodeRow(fields, placed, uids) },
  });
  const nodeFile = makeMapFile<NodeName, TrafficNode>({
    path: paths.nodes,
    name: 'nodes',
    version: fileVersions.nodes,
    files,
    log,
    without: unserved,
    encode: encodeNode,
    decode: decodeNode,
  });
  const backendFile = makeMapFile<BackendId, Backend | PodBackend>({
    path: paths.backends,
    name: 'backends',
    version: fileVersions.backends,
    files,
    log,
    without:
      'furiwake waits for the API server, and meanwhile all nodes serve a Service with externalTrafficPolicy: Local',
    encode: encodeBackend,
    decode: decodeBackend,
  });
  const withoutEndpointsFile = makeMapFile<ListenerKey, ServiceUid>({
    path: paths.withoutEndpoints,
    name: 'without-endpoints',
    version: fileVersions.withoutEndpoints,
    files,
    log,
    without: 'until furiwake has read the EndpointSlices, HAProxy accepts connections of Services without endpoints',
    encode: (uid, listener) => ({ listener, uid }),
    decode: (fields) => {
      const { listener, uid } = withoutEndpointsSchema.parse(fields);
      return [listener as ListenerKey, uid as ServiceUid];
    },
  });
  let lastNodes: TrafficTable['nodes'] | undefined;
  /** The backends of both kinds, as they are in the file: without those of all nodes, which follow from the nodes. */
  let saved = PersistentMap.empty<BackendId, Backend | PodBackend>();
  let written: Pick<TrafficTable, 'backends' | 'pods'> = emptyTable;
  return {
    write: async ({ listeners, backends, pods, nodes, withoutEndpoints }) => {
      if (nodes !== lastNodes) {
        await nodeFile.write(PersistentMap.from(nodes));
        await files.remove(earlier.nodes);
        lastNodes = nodes;
      }
      saved = saved.with(changesBetween(written.backends, backends)).with(changesBetween(written.pods, pods));
      saved = saved.with(nodesBackendIds.map((id) => [id, undefined]));
      written = { backends, pods };
      await backendFile.write(saved);
      await withoutEndpointsFile.write(withoutEndpoints ?? PersistentMap.empty());
      await listenerFile.write(listeners);
    },
    read: async () => {
      const nodes = (await nodeFile.read()) ?? (await readEarlierNodes(files, earlier.nodes, log));
      placed = await readPlaced();
      if (await files.exists(earlier.rows)) uids = await readEarlierUids(files, [earlier.records, paths.ledger]);
      const listeners = await listenerFile.read();
      if (nodes === undefined || listeners === undefined) return undefined;
      const backends = [...((await backendFile.read()) ?? [])];
      const sorted = [...nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
      return {
        listeners,
        nodes: new Map(sorted.map((node) => [node.name, node])),
        backends: nodesBackends(sorted).with(
          backends.flatMap(([id, backend]) => ('servers' in backend ? [[id, backend] as const] : [])),
        ),
        pods: PersistentMap.from(
          backends.flatMap(([id, backend]) => ('pods' in backend ? [[id, backend] as const] : [])),
        ),
        excludedNodes: [], // known when the API server answers
        withoutEndpoints: (await withoutEndpointsFile.read()) ?? PersistentMap.empty(),
      };
    },
  };
}

const natural = z.int().min(0);

const optionsSchema = z.object({
  limits: z.object({ connections: natural, rate: natural, clientConnections: natural, clientRate: natural }),
  server: z.object({
    proxyProtocol: z.literal([0, 1, 2]),
    mostConnections: natural,
    slowStartMs: natural,
    drainMs: natural.default(0),
    check: z.object({ intervalMs: natural, fall: natural, rise: natural }).optional(),
  }),
  profile: z.object({
    mode: z.enum(modes),
    balance: z.enum(balances),
    connectTimeoutMs: natural,
    idleTimeoutMs: natural,
    serverTimeoutMs: natural.default(0),
    affinitySeconds: natural.default(0),
    checkPath: z.string().regex(checkPathPattern),
  }),
  isMeasured: z.boolean().default(false),
});

const listenerSchema = z.object({
  service: z.string(),
  uid: z.string().optional(), // absent before version 4
  address: ipText,
  protocol: z.enum(['TCP', 'UDP', 'SCTP']),
  port,
  dataplane: z.enum(dataplanes).default('haproxy'), // absent before version 3
  isPublished: z.boolean().default(false),
  standIn: z.enum(standIns).optional(),
  needsProof: z.boolean().default(false),
  isAffine: z.boolean().default(false),
  affinitySeconds: natural.default(0),
  backend: z.string(),
  targetPort: port.or(z.literal(0)),
  sourceRanges: z.array(rangeText).optional(),
  options: optionsSchema.optional(),
  isDraining: z.boolean().default(false),
  isHostAddress: z.boolean(),
});

function encodeListener({ key: _key, revision: _revision, address, sourceRanges, ...rest }: Listener): object {
  return { ...rest, address: address.text, sourceRanges: sourceRanges?.map(formatRange) };
}

function decodeListenerOptions({ server, ...rest }: z.infer<typeof optionsSchema>): ListenerOptions {
  return { ...rest, server: { ...server, check: server.check } };
}

function decodeListener(fields: unknown): readonly [ListenerKey, Listener] {
  const saved = listenerSchema.parse(fields);
  const listener = makeListener({
    ...saved,
    service: saved.service as ServiceKey,
    uid: (saved.uid ?? saved.service) as ServiceUid,
    backend: saved.backend as BackendId,
    sourceRanges: saved.sourceRanges,
    options: saved.options && decodeListenerOptions(saved.options),
    standIn: saved.standIn,
  });
  return [listener.key, listener];
}

const nodesBackendIds: readonly BackendId[] = [nodesBackend(4), nodesBackend(6)];

const withoutEndpointsSchema = z.object({ listener: z.string(), uid: z.string() });

const backendSchema = z.object({
  id: z.string(),
  family: z.literal([4, 6]),
  servers: z.array(z.object({ node: z.string(), weight: z.int().min(1).max(256), isDraining: z.boolean() })),
  healthCheckPort: port.optional(),
});

const podBackendSchema = z.object({
  id: z.string(),
  family: z.literal([4, 6]),
  pods: z.array(z.object({ address: ipText, port, node: z.string().optional(), isDraining: z.boolean() })),
});

function encodeBackend(backend: Backend | PodBackend, id: BackendId): object {
  if ('servers' in backend) return { id, ...backend };
  const { family, pods } = backend;
  return { id, family, pods: pods.map(({ address, ...rest }) => ({ address: address.text, ...rest })) };
}

function changesBetween<V>(
  before: PersistentMap<BackendId, V>,
  now: PersistentMap<BackendId, V>,
): readonly (readonly [BackendId, V | undefined])[] {
  return PersistentMap.changedKeys(before, now).map((id) => [id, now.get(id)]);
}

function decodeBackend(fields: unknown): readonly [BackendId, Backend | PodBackend] {
  if (fields instanceof Object && 'pods' in fields) {
    const saved = podBackendSchema.parse(fields);
    const pods = saved.pods.map(({ node, ...rest }) => ({ ...rest, node: node as NodeName | undefined }));
    return [saved.id as BackendId, { family: saved.family, pods }];
  }
  const { id, family, servers, healthCheckPort } = backendSchema.parse(fields);
  return [
    id as BackendId,
    { family, servers: servers.map((server) => ({ ...server, node: server.node as NodeName })), healthCheckPort },
  ];
}

/** A row of release 0.1.0: TCP through NodePorts. */
const rowSchema = z.object({
  service: z.string(),
  address: ipText,
  port,
  nodePort: port,
  sourceRanges: z.array(rangeText).optional(),
});

function decodeRow(
  fields: unknown,
  placed: ReadonlyMap<string, unknown>,
  uids: ReadonlyMap<ServiceKey, ServiceUid>,
): readonly [ListenerKey, Listener] {
  const { nodePort, service, sourceRanges, ...saved } = rowSchema.parse(fields);
  const listener = makeListener({
    ...saved,
    service: service as ServiceKey,
    uid: uids.get(service as ServiceKey) ?? (service as ServiceUid),
    protocol: 'TCP',
    dataplane: 'haproxy',
    isPublished: false,
    standIn: undefined,
    needsProof: false,
    isAffine: false,
    affinitySeconds: 0,
    backend: nodesBackend(saved.address.family),
    targetPort: nodePort,
    sourceRanges,
    options: undefined,
    isDraining: false,
    isHostAddress: !placed.has(saved.address.text),
  });
  return [listener.key, listener];
}

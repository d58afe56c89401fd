import * as z from 'zod';
import { formatRange } from '../core/ip/range.ts';
import type { NodeName } from '../core/model/names.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import type { TrafficNode } from '../core/traffic/table.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { ipText, rangeText } from './decoders.ts';

/** A node of the last table, as JSON. */
export function encodeNode({
  name,
  addresses,
  podCidrs,
  bootId,
  state,
}: TrafficNode): Readonly<Record<string, unknown>> {
  const ofPods = podCidrs.length === 0 ? {} : { podCidrs: podCidrs.map(formatRange) };
  return { name, addresses: addresses.map(({ text }) => text), ...ofPods, bootId, state };
}

const nodeSchema = z.object({
  name: z.string(),
  addresses: z.array(ipText),
  podCidrs: z.array(rangeText).default([]),
  bootId: z.string().optional(),
  state: z.enum(['active', 'drain']),
});

/** Throws if the fields are not those of a node. Earlier releases did not save Pod CIDRs and boot IDs. */
export function decodeNode(fields: unknown): readonly [NodeName, TrafficNode] {
  const saved = nodeSchema.parse(fields);
  const name = saved.name as NodeName;
  return [name, { ...saved, name, bootId: saved.bootId }];
}

const earlierServer = z.object({ node: z.string(), address: ipText, state: z.enum(['active', 'drain']) });
const earlierNodes = z.object({ version: z.literal(1), 4: z.array(earlierServer), 6: z.array(earlierServer) });

/** The nodes that release 0.1.0 saved; `undefined`: there are none, or they cannot be read. */
export async function readEarlierNodes(
  files: Files,
  path: string,
  log: Log,
): Promise<PersistentMap<NodeName, TrafficNode> | undefined> {
  try {
    const text = await files.read(path);
    if (text === undefined) return undefined;
    const saved = earlierNodes.parse(JSON.parse(text));
    const nodes = new Map<NodeName, TrafficNode>();
    for (const { node, address, state } of [...saved[4], ...saved[6]]) {
      const name = node as NodeName;
      const addresses = [...(nodes.get(name)?.addresses ?? []), address];
      nodes.set(name, { name, state, addresses, podCidrs: [], bootId: undefined });
    }
    return PersistentMap.from(nodes);
  } catch (error) {
    log.error(
      { file: path, err: error },
      'the nodes of the earlier release cannot be read; waiting for the API server',
    );
    return undefined;
  }
}

import { families, type Ip, parseIp } from '../core/ip/ip.ts';
import { parseCidr } from '../core/ip/range.ts';
import { specialUse } from '../core/ip/special-use.ts';
import { autoscalerTaint, excludeNodeLabel } from '../core/model/contract.ts';
import type { NodeName } from '../core/model/names.ts';
import type { Node } from '../core/model/node.ts';
import { fieldsOf, type Json, listOf, optionalTextOf, textOf, textsOf } from './wire.ts';

/** Projects a core/v1 Node to the fields that are kept. Total: never throws. */
export function projectNode(wire: Json): Node {
  const object = fieldsOf(wire);
  const metadata = fieldsOf(object['metadata']);
  const spec = fieldsOf(object['spec']);
  const status = fieldsOf(object['status']);
  const reported = listOf(status['addresses']).map((item) => {
    const { type, address } = fieldsOf(item);
    return { type: textOf(type), ip: parseIp(textOf(address)) };
  });
  const ofType = (type: string): readonly Ip[] =>
    reported.flatMap((entry) => (entry.type === type && entry.ip !== undefined ? [entry.ip] : []));
  const candidates = [...ofType('InternalIP'), ...ofType('ExternalIP')].filter((ip) => specialUse(ip) === undefined);
  return {
    name: textOf(metadata['name']) as NodeName,
    createdAtMs: Date.parse(textOf(metadata['creationTimestamp'])) || 0,
    addresses: families.flatMap((family) => candidates.find((ip) => ip.family === family) ?? []),
    allAddresses: reported.flatMap((entry) => entry.ip ?? []),
    podCidrs: textsOf(spec['podCIDRs']).flatMap((text) => parseCidr(text) ?? []),
    bootId: optionalTextOf(fieldsOf(status['nodeInfo'])['bootID']),
    excluded: exclusionOf(metadata, spec),
    isReady: listOf(status['conditions'])
      .map(fieldsOf)
      .some(({ type, status: state }) => type === 'Ready' && state === 'True'),
  };
}

function exclusionOf(metadata: Readonly<Record<string, Json>>, spec: Readonly<Record<string, Json>>): Node['excluded'] {
  if (optionalTextOf(metadata['deletionTimestamp']) !== undefined) return 'deleted';
  const label = fieldsOf(metadata['labels'])[excludeNodeLabel];
  if (typeof label === 'string' && !falseWords.has(label)) return 'label';
  if (listOf(spec['taints']).some((taint) => fieldsOf(taint)['key'] === autoscalerTaint)) return 'taint';
  return undefined;
}

/** Texts that Go's `strconv.ParseBool` reads as false, as in Kubernetes' service controller. */
const falseWords: ReadonlySet<string> = new Set(['0', 'f', 'F', 'false', 'False', 'FALSE']);

import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { type Document, parseAllDocuments } from 'yaml';
import * as z from 'zod';
import { messageOf } from '../../src/async/error-words.ts';

/** Namespace of the Services of all cases, and of the Pods behind them. */
export const namespace = 'corpus';

/** The pools that cases name, of one address each. */
export const pools: ReadonlyMap<string, string> = new Map([
  ['external-pool', '203.0.113.43'],
  ['mosquitto', '203.0.113.58'],
  ['ctlplane', '203.0.113.62'],
]);

/** What a case asks for beyond TCP ports, in the order of the README; the judge checks each in its own way, or not at all. */
const needs = [
  'udp',
  'sctp',
  'mixed',
  'many-ports',
  'port-22',
  'dual-stack',
  'request-field',
  'request-annotation',
  'pool-annotation',
  'shared',
  'local',
  'hcnp',
  'affinity',
  'source-ranges',
  'no-nodeports',
  'fixed-nodeport',
  'no-selector',
  'one-pod',
  'class',
  'foreign-class',
  'proxy-protocol',
  'dhcp',
  'hostname-annotation',
] as const;
export type Need = (typeof needs)[number];

export type Protocol = 'TCP' | 'UDP' | 'SCTP';

/** The fields of a port that the judge reads. */
export type PortSpec = {
  readonly name: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly nodePort?: number | undefined;
};

/** The fields of a Service that the judge reads; it sends all of the file to the API server. */
export type Manifest = {
  readonly metadata: { readonly name: string; readonly annotations: Readonly<Record<string, string>> };
  readonly spec: {
    readonly selector?: Readonly<Record<string, string>> | undefined;
    readonly ports: readonly PortSpec[];
    readonly loadBalancerIP?: string | undefined;
    readonly loadBalancerClass?: string | undefined;
    readonly loadBalancerSourceRanges?: readonly string[] | undefined;
    readonly allocateLoadBalancerNodePorts?: boolean | undefined;
    readonly externalTrafficPolicy?: 'Cluster' | 'Local' | undefined;
    readonly healthCheckNodePort?: number | undefined;
    readonly sessionAffinity?: 'None' | 'ClientIP' | undefined;
    readonly ipFamilies?: readonly string[] | undefined;
  };
};

const port: z.ZodType<PortSpec> = z.looseObject({
  name: z.string(),
  port: z.int(),
  protocol: z.enum(['TCP', 'UDP', 'SCTP']),
  nodePort: z.int().optional(),
});

const manifest: z.ZodType<Manifest> = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Service'),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.literal(namespace),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
  spec: z.looseObject({
    type: z.literal('LoadBalancer'),
    selector: z.record(z.string(), z.string()).optional(),
    ports: z.array(port).min(1),
    loadBalancerIP: z.string().optional(),
    loadBalancerClass: z.string().optional(),
    loadBalancerSourceRanges: z.array(z.string()).optional(),
    allocateLoadBalancerNodePorts: z.boolean().optional(),
    externalTrafficPolicy: z.enum(['Cluster', 'Local']).optional(),
    healthCheckNodePort: z.int().optional(),
    sessionAffinity: z.enum(['None', 'ClientIP']).optional(),
    ipFamilies: z.array(z.string()).optional(),
  }),
});

/** Services that are deployed together, and what they ask for. */
export type Case = {
  /** The name of its file: `04-traefik-http3`. */
  readonly name: string;
  readonly what: string;
  readonly needs: readonly Need[];
  readonly source: string;
  /** How MetalLB serves it. */
  readonly metallb: string;
  readonly services: readonly Manifest[];
};

const folder = path.join(import.meta.dirname, 'cases');

/** Reads the cases whose names contain one of `parts`, or all; in the order of their names. */
export async function readCases(parts: readonly string[] = []): Promise<readonly Case[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.yaml')).map((name) => name.slice(0, -5));
  const chosen = names.filter((name) => parts.length === 0 || parts.some((part) => name.includes(part)));
  return Promise.all(
    chosen.toSorted().map(async (name) => parseCase(name, await readFile(path.join(folder, `${name}.yaml`), 'utf8'))),
  );
}

const header = z.object({ what: z.string(), needs: z.array(z.enum(needs)), source: z.string(), metallb: z.string() });

/**
 * Reads a file: its Services, and the comment before them, of which the first line is a title and the others are `needs:`,
 * `source:` and `MetalLB:`.
 *
 * @throws Error that names the case, for a field that is missing or has another type.
 */
export function parseCase(name: string, text: string): Case {
  try {
    const documents = parseAllDocuments(text) as readonly Document[];
    const [what, ...lines] = (documents[0]?.commentBefore ?? '').split('\n').map((line) => line.trim());
    const fields = new Map(lines.map((line) => [line.split(': ', 1)[0], line.slice(line.indexOf(': ') + 2)]));
    const listed = fields.get('needs');
    return {
      name,
      ...header.parse({
        what,
        needs: listed === 'TCP ports only' ? [] : listed?.split(', '),
        source: fields.get('source'),
        metallb: fields.get('MetalLB'),
      }),
      services: z
        .array(manifest)
        .min(1)
        .parse(documents.map((document) => document.toJS() as unknown)),
    };
  } catch (error) {
    throw new Error(`case ${name}: ${messageOf(error)}`, { cause: error });
  }
}

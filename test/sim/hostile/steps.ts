import fc from 'fast-check';
import type { SimObject } from '../kinds.ts';
import { anySlice } from './endpoints.ts';
import { anyAnnotations, anySpec, anyStatus } from './services.ts';
import { markOf, markPlace } from './texts.ts';

const namespaces = ['a', 'b', 'c'];
const names = ['s1', 's2', 's3'];

/** The endpoints of all Services before users write others. */
export const firstSlices: readonly SimObject[] = namespaces.flatMap((namespace) =>
  names.map((name) => ({
    metadata: { namespace, name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: ['http', 'dns'].map((port) => ({ name: port, protocol: 'TCP', port: 8080 })),
    endpoints: [{ addresses: ['10.244.1.7'], nodeName: 'n1' }],
  })),
);

const anyKey = fc
  .tuple(fc.constantFrom(...namespaces), fc.constantFrom(...names))
  .map(([namespace, name]) => ({ namespace, name }));
type Key = { readonly namespace: string; readonly name: string };

/** One act of a user, and the time until the next one. */
export type Step = { readonly waitMs: number } & (
  | { readonly act: 'write'; readonly service: SimObject; readonly keepsFinalizers: boolean }
  | { readonly act: 'remove'; readonly key: Key }
  | { readonly act: 'endpoints'; readonly slice: SimObject }
);

const written = fc
  .record({
    key: anyKey,
    annotations: anyAnnotations,
    spec: anySpec,
    status: fc.option(anyStatus, { freq: 8, nil: undefined }),
    keepsFinalizers: fc.constantFrom(true, true, true, true, false),
  })
  .map(({ key, annotations, spec, status, keepsFinalizers }) => ({
    act: 'write' as const,
    keepsFinalizers,
    service: marked(key, { metadata: { ...key, annotations }, spec, status }),
  }));
const removed = anyKey.map((key) => ({ act: 'remove' as const, key }));
const moved = fc.tuple(anyKey, anySlice).map(([key, slice]) => ({
  act: 'endpoints' as const,
  slice: marked(key, {
    metadata: {
      namespace: key.namespace,
      name: `${key.name}-1`,
      labels: { 'kubernetes.io/service-name': key.name },
    },
    ...slice,
  }),
}));

const anyStep: fc.Arbitrary<Step> = fc
  .tuple(
    fc.constantFrom(0, 0, 0, 50, 2_000),
    fc.oneof({ weight: 6, arbitrary: written }, { weight: 1, arbitrary: removed }, { weight: 2, arbitrary: moved }),
  )
  .map(([waitMs, step]) => ({ waitMs, ...step }));

export const anyHistory: fc.Arbitrary<readonly Step[]> = fc.array(anyStep, { maxLength: 40, size: 'max' });

/** The object with the mark of its Service, as JSON: without fields that are `undefined`. */
function marked({ namespace, name }: Key, object: object): SimObject {
  const text = JSON.stringify(object).replaceAll(markPlace, markOf(`${namespace}${name}`));
  return JSON.parse(text) as SimObject;
}

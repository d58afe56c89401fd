import { isDeepStrictEqual } from 'node:util';
import { Refusal } from './refusal.ts';

type Operation = { readonly op: string; readonly path: string; readonly value?: unknown };
type Tree = Record<string, unknown> | unknown[];

/** RFC 6902 as in the API server: a patch that cannot be applied, or a failed `test`, is 422 without causes. */
export function applyJsonPatch<T>(target: T, operations: readonly Operation[]): T {
  const root = { document: structuredClone(target) as unknown };
  for (const { op, path, value } of operations) {
    const steps = [
      'document',
      ...path
        .split('/')
        .slice(1)
        .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~')),
    ];
    const last = steps.pop() ?? '';
    let parent: unknown = root;
    for (const step of steps) parent = at(parent, step);
    if (typeof parent !== 'object' || parent === null) throw misfit();
    perform(op, parent as Tree, last, value);
  }
  return root.document as T;
}

function perform(op: string, parent: Tree, key: string, value: unknown): void {
  const exists = at(parent, key) !== undefined;
  if (op === 'test') {
    if (!isDeepStrictEqual(at(parent, key), value)) throw misfit();
  } else if (op === 'add' && Array.isArray(parent)) {
    parent.splice(key === '-' ? parent.length : Number(key), 0, value);
  } else if (op === 'add' || (op === 'replace' && exists)) {
    Object.assign(parent, { [key]: value });
  } else if (op === 'remove' && exists) {
    if (Array.isArray(parent)) parent.splice(Number(key), 1);
    else Reflect.deleteProperty(parent, key);
  } else throw misfit();
}

function at(parent: unknown, key: string): unknown {
  return typeof parent === 'object' && parent !== null ? (parent as Record<string, unknown>)[key] : undefined;
}

function misfit(): Refusal {
  return new Refusal(422, 'Invalid', 'the server rejected our request due to an error in our request');
}

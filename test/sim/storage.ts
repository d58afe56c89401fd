import { isDeepStrictEqual } from 'node:util';
import { simKinds, type SimKind, type SimMeta, type SimObject } from './kinds.ts';
import { conflict, invalid, notFound, Refusal } from './refusal.ts';
import { type Owners, renderManagedFields } from './status-owners.ts';

/** An object, its JSON (made once per revision) and the owners of its status fields. */
export type Stored = { readonly object: SimObject; readonly json: string; readonly owners: Owners };

export type Change = {
  readonly revision: number;
  readonly kind: SimKind;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly namespace: string | undefined;
  /** The line that a watch gets. */
  readonly line: string;
};

export type OwnedObject = { readonly object: SimObject; readonly owners: Owners };

/** The contents of etcd: objects with one global revision, and the changes that led to them. */
export type Storage = {
  readonly revision: number;
  /** A revision as a resourceVersion. */
  versionText(revision: number): string;
  kindOf(nameOrPlural: string): SimKind;
  get(kind: SimKind, key: string): Stored | undefined;
  /** In the order of their keys, as etcd lists them. */
  list(kind: SimKind, namespace?: string): readonly Stored[];
  create(kind: SimKind, object: SimObject): Stored;
  /** Replaces the object by `draft`; no new revision if they are equal. Removes it with its last finalizer. */
  update(kind: SimKind, key: string, draft: OwnedObject): Stored;
  /** Removes it, or marks it as deleted while it has finalizers. */
  remove(kind: SimKind, key: string, preconditions?: { readonly uid?: string }): Stored;
  /** Whether all changes after `revision` are still known. */
  remembers(revision: number): boolean;
  /** The remembered changes after `revision`. */
  since(revision: number, kind: SimKind, namespace?: string): readonly Change[];
  subscribe(listener: (change: Change) => void): () => void;
  /** Forgets all history, as a compaction or a restart of the watch cache does. */
  forget(): void;
  /** Saves the present state; the returned function restores it, with its revision, like a backup of etcd. */
  backup(): () => void;
};

const historyLimit = 50_000;

export function revisionOf(version: string): number {
  const revision = Number(/^(?:rv)?(\d+)$/.exec(version)?.[1] ?? Number.NaN);
  if (Number.isNaN(revision)) throw new Refusal(400, 'BadRequest', `resourceVersion: Invalid value: "${version}"`);
  return revision;
}

export function makeStorage({
  random,
  now,
  hasOpaqueVersions,
  extraKinds = [],
}: {
  readonly random: () => number;
  /** resourceVersions that cannot be compared, as those of some aggregated API servers. */
  readonly hasOpaqueVersions: boolean;
  readonly now: () => number;
  readonly extraKinds?: readonly SimKind[];
}): Storage {
  const kinds = [...simKinds, ...extraKinds];
  const objects = new Map<SimKind, Map<string, Stored>>(kinds.map((kind) => [kind, new Map()]));
  const listeners = new Set<(change: Change) => void>();
  let history: Change[] = [];
  let forgotten = 0;
  let revision = 1;
  let names = 0;

  const versionText = (of: number): string => (hasOpaqueVersions ? `rv${of}` : String(of));
  const of = (kind: SimKind): Map<string, Stored> => objects.get(kind) ?? new Map<string, Stored>();
  const timestamp = (): string => `${new Date(now()).toISOString().slice(0, 19)}Z`;
  const makeUid = (): string =>
    [8, 4, 4, 4, 12].map((length) => Array.from({ length }, () => hex(random())).join('')).join('-');

  const commit = (kind: SimKind, type: Change['type'], { object, owners }: OwnedObject): Stored => {
    revision += 1;
    const { managedFields: before = [], ...metadata } = object.metadata;
    const managedFields = renderManagedFields(owners, { apiVersion: kind.apiVersion, time: timestamp(), before });
    const stamped: SimObject = {
      ...object,
      metadata: {
        ...metadata,
        resourceVersion: versionText(revision),
        ...(managedFields.length === 0 ? {} : { managedFields }),
      },
    };
    const stored = { object: stamped, json: JSON.stringify(stamped), owners };
    const key = keyOf(stamped.metadata);
    if (type === 'DELETED') of(kind).delete(key);
    else of(kind).set(key, stored);
    const { namespace } = stamped.metadata;
    const change = { revision, kind, type, namespace, line: `{"type":"${type}","object":${stored.json}}\n` };
    history.push(change);
    if (history.length > historyLimit) {
      const dropped = history.splice(0, historyLimit / 2);
      forgotten = dropped.at(-1)?.revision ?? forgotten;
    }
    for (const listener of listeners) listener(change);
    return stored;
  };

  const present = (kind: SimKind, key: string): Stored => {
    const stored = of(kind).get(key);
    if (stored === undefined) throw notFound(`${kind.plural} "${key}"`);
    return stored;
  };

  return {
    get revision() {
      return revision;
    },
    versionText,
    kindOf: (name) => {
      const kind = kinds.find((candidate) => candidate.kind === name || candidate.plural === name);
      if (kind === undefined) throw notFound(`the server's resource ${name}`);
      return kind;
    },
    get: (kind, key) => of(kind).get(key),
    list: (kind, namespace) => {
      const all = [...of(kind)].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, stored]) => stored);
      return namespace === undefined ? all : all.filter(({ object }) => object.metadata.namespace === namespace);
    },
    create: (kind, object) => {
      const { generateName, ...given } = object.metadata as SimMeta & { generateName?: string };
      const name = given.name ?? `${generateName ?? ''}${(names += 1).toString(36).padStart(5, '0')}`;
      const metadata = { ...given, name, uid: makeUid(), creationTimestamp: timestamp() };
      const key = keyOf(metadata);
      if (of(kind).has(key)) throw new Refusal(409, 'AlreadyExists', `${kind.plural} "${key}" already exists`);
      const { apiVersion, kind: kindName } = kind;
      return commit(kind, 'ADDED', { object: { ...object, apiVersion, kind: kindName, metadata }, owners: new Map() });
    },
    update: (kind, key, draft) => {
      const old = present(kind, key);
      const { metadata } = draft.object;
      const { metadata: before } = old.object;
      if (metadata.uid !== undefined && metadata.uid !== before.uid)
        throw conflict(
          `${kind.plural} "${key}"`,
          `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${before.uid}`,
        );
      if (metadata.resourceVersion !== undefined && metadata.resourceVersion !== before.resourceVersion)
        throw conflict(
          `${kind.plural} "${key}"`,
          'the object has been modified; please apply your changes to the latest version and try again',
        );
      refuseNewFinalizers(before, metadata);
      const kept = {
        ...metadata,
        name: before.name,
        ...pick(before, [
          'namespace',
          'uid',
          'creationTimestamp',
          'deletionTimestamp',
          'resourceVersion',
          'managedFields',
        ]),
      };
      const object = { ...draft.object, apiVersion: kind.apiVersion, kind: kind.kind, metadata: withoutEmpty(kept) };
      if (isDeepStrictEqual(object, old.object) && isDeepStrictEqual(draft.owners, old.owners)) return old;
      const isGone = before.deletionTimestamp !== undefined && (metadata.finalizers ?? []).length === 0;
      return commit(kind, isGone ? 'DELETED' : 'MODIFIED', { object, owners: draft.owners });
    },
    remove: (kind, key, { uid } = {}) => {
      const old = present(kind, key);
      const { object, owners } = old;
      if (uid !== undefined && uid !== object.metadata.uid)
        throw conflict(
          `${kind.plural} "${key}"`,
          `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${object.metadata.uid}`,
        );
      const held = [
        ...(object.metadata.finalizers ?? []),
        ...((object.spec?.['finalizers'] ?? []) as readonly string[]),
      ];
      if (held.length === 0) return commit(kind, 'DELETED', { object, owners });
      if (object.metadata.deletionTimestamp !== undefined) return old;
      const metadata = { ...object.metadata, deletionTimestamp: timestamp() };
      return commit(kind, 'MODIFIED', { object: { ...object, metadata }, owners });
    },
    remembers: (from) => from >= forgotten,
    since: (from, kind, namespace) =>
      history.filter(
        (change) =>
          change.revision > from && change.kind === kind && (namespace === undefined || change.namespace === namespace),
      ),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    forget: () => {
      history = [];
      forgotten = revision;
    },
    backup: () => {
      const saved = { revision, objects: Array.from(objects, ([kind, all]) => [kind, new Map(all)] as const) };
      return () => {
        revision = saved.revision;
        for (const [kind, all] of saved.objects) objects.set(kind, new Map(all));
        history = [];
        forgotten = revision;
      };
    },
  };
}

export function keyOf({ namespace, name }: SimMeta): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

function refuseNewFinalizers(before: SimMeta, after: SimMeta): void {
  if (before.deletionTimestamp === undefined) return;
  const added = (after.finalizers ?? []).filter((finalizer) => !(before.finalizers ?? []).includes(finalizer));
  if (added.length > 0)
    throw invalid(
      `metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
      'metadata.finalizers',
    );
}

function pick<T extends object>(from: T, keys: readonly (keyof T)[]): Partial<T> {
  return Object.fromEntries(keys.filter((key) => from[key] !== undefined).map((key) => [key, from[key]])) as Partial<T>;
}

/** As Go's `omitempty` leaves them out. */
function withoutEmpty<T extends SimMeta>(metadata: T): T {
  const { finalizers, ...rest } = metadata;
  return (finalizers ?? []).length === 0 ? (rest as T) : metadata;
}

function hex(chance: number): string {
  return Math.trunc(chance * 16).toString(16);
}
